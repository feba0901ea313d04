//! A Lambda Runtime API that sends a list of events, one at a time, and measures the time of each response.
//!
//! `testkit` has another one for tests. This one uses blocking I/O and a thread per connection, so that no async runtime
//! takes part in the measured times.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Result;
use crate::database::Database;
use crate::http::Message;

/// The measurements of one event.
#[derive(Debug, Clone, Copy)]
pub struct Invoke {
    /// From the moment before the event is written to the response's last byte.
    pub wall: Duration,
    /// The database's part of it: from a request's last byte to the moment before its response is encrypted and sent.
    pub database: Duration,
    /// The response's HTTP status.
    pub status: u16,
}

/// Called with the index of each event before it is sent, and once more after the last.
type BeforeEvent = Box<dyn FnMut(usize) + Send>;

struct State {
    events: Vec<String>,
    before_event: BeforeEvent,
    sent: Option<(Instant, Duration)>,
    /// When the process first requested an event, at the end of its initialization.
    ready: Option<Instant>,
    invokes: Vec<Invoke>,
    ended: Option<Result<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    database: Database,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, result: Result<()>) {
        self.state().ended.get_or_insert(result);
        self.changed.notify_all();
    }
}

/// A Runtime API for one process.
pub struct RuntimeApi {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl RuntimeApi {
    pub fn start(events: Vec<String>, database: &Database, before_event: BeforeEvent) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = State { events, before_event, sent: None, ready: None, invokes: Vec::new(), ended: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), database: database.clone() });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || {
                    if let Err(error) = serve(connection, &shared) {
                        shared.end(Err(error));
                    }
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// Waits until the process has responded to every event and requests another. Returns when it was first ready and the
    /// measurements of each event. `ended` reports how the process has ended, if it has.
    pub fn wait(&self, limit: Duration, mut ended: impl FnMut() -> Option<String>) -> Result<(Instant, Vec<Invoke>)> {
        let started = Instant::now();
        let mut state = self.shared.state();
        while state.ended.is_none() {
            if started.elapsed() > limit {
                return Err(format!("not finished after {limit:?}").into());
            }
            if let Some(how) = ended() {
                return Err(format!("the process ended: {how}").into());
            }
            let (next, _) = self
                .shared
                .changed
                .wait_timeout(state, Duration::from_millis(100))
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
        }
        if let Some(Err(error)) = state.ended.take() {
            return Err(error);
        }
        Ok((state.ready.ok_or("the process was never ready")?, std::mem::take(&mut state.invokes)))
    }
}

const NEXT: &str = "GET /2018-06-01/runtime/invocation/next ";

fn serve(connection: TcpStream, shared: &Shared) -> Result<()> {
    connection.set_nodelay(true)?;
    let mut writer = connection.try_clone()?;
    let mut reader = BufReader::new(connection);
    while let Some(request) = Message::read(&mut reader)? {
        let received = Instant::now();
        if request.first_line.starts_with(NEXT) {
            let mut state = shared.state();
            state.ready.get_or_insert(received);
            let index = state.invokes.len();
            (state.before_event)(index);
            let Some(event) = state.events.get(index) else {
                drop(state);
                shared.end(Ok(()));
                // Keep the request open, as Lambda does for an idle environment, until the process is stopped.
                std::thread::park_timeout(Duration::from_secs(3600));
                return Ok(());
            };
            let deadline = (SystemTime::now() + Duration::from_secs(60)).duration_since(UNIX_EPOCH)?.as_millis();
            let text = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                 lambda-runtime-aws-request-id: 8476a536-e9f4-11e8-9739-{index:012x}\r\n\
                 lambda-runtime-deadline-ms: {deadline}\r\n\
                 lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:123456789012:function:add-phone\r\n\
                 lambda-runtime-trace-id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0\r\n\
                 \r\n{event}",
                event.len()
            );
            let before = shared.database.counts().busy;
            // Take the time before the write: the process can respond before this thread continues.
            state.sent = Some((Instant::now(), before));
            drop(state);
            writer.write_all(text.as_bytes())?;
        } else if request.first_line.contains("/invocation/") && request.first_line.contains("/response ") {
            let busy = shared.database.counts().busy;
            let mut state = shared.state();
            let (sent, before) = state.sent.take().ok_or("a response without an event")?;
            let status = status(&request.body).ok_or("a response without a status")?;
            state.invokes.push(Invoke { wall: received - sent, database: busy.saturating_sub(before), status });
            drop(state);
            writer.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"status\":\"OK\"}")?;
        } else {
            return Err(format!("the process reported: {}", String::from_utf8_lossy(&request.body)).into());
        }
    }
    Ok(())
}

fn status(response: &[u8]) -> Option<u16> {
    let response: serde_json::Value = serde_json::from_slice(response).ok()?;
    response.get("statusCode")?.as_u64()?.try_into().ok()
}
