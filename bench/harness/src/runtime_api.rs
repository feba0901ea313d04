//! Lambda's Runtime API: it hands out a list of events, one at a time, and takes the time of each answer.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Result;
use crate::database::Database;
use crate::http::Message;

/// What became of one event.
#[derive(Debug, Clone, Copy)]
pub struct Invoke {
    /// From the event's last byte sent to the answer's last byte received.
    pub wall: Duration,
    /// Of that, what the database took: from a request's last byte read to its answer's last byte written.
    pub database: Duration,
    /// The answer's HTTP status.
    pub status: u16,
}

/// Called before the event of each index is handed out, and once more when none is left.
type BeforeEvent = Box<dyn FnMut(usize) + Send>;

struct State {
    events: Vec<String>,
    before_event: BeforeEvent,
    handed: Option<(Instant, Duration)>,
    /// When the process first asked for an event: its initialisation is over.
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
        let state = State { events, before_event, handed: None, ready: None, invokes: Vec::new(), ended: None };
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

    /// Waits until every event has been answered and the process asks for another. Gives when it was first ready, and
    /// what became of each event. `ended` is asked now and then whether the process has ended, and how.
    pub fn wait(&self, limit: Duration, mut ended: impl FnMut() -> Option<String>) -> Result<(Instant, Vec<Invoke>)> {
        let started = Instant::now();
        let mut state = self.shared.state();
        while state.ended.is_none() {
            if started.elapsed() > limit {
                return Err(format!("no end after {limit:?}").into());
            }
            if let Some(how) = ended() {
                return Err(format!("the process ended by itself: {how}").into());
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
                // Held, as Lambda holds an environment that has nothing to do, until the process is stopped.
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
            // Taken before the write: what runs on another core may answer before this thread wakes again.
            state.handed = Some((Instant::now(), before));
            drop(state);
            writer.write_all(text.as_bytes())?;
        } else if request.first_line.contains("/invocation/") && request.first_line.contains("/response ") {
            let busy = shared.database.counts().busy;
            let mut state = shared.state();
            let (handed, before) = state.handed.take().ok_or("an answer to no event")?;
            let status = status(&request.body).ok_or("an answer without a status")?;
            state.invokes.push(Invoke { wall: received - handed, database: busy.saturating_sub(before), status });
            drop(state);
            writer.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"status\":\"OK\"}")?;
        } else {
            return Err(format!("the process reports: {}", String::from_utf8_lossy(&request.body)).into());
        }
    }
    Ok(())
}

fn status(answer: &[u8]) -> Option<u16> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    answer.get("statusCode")?.as_u64()?.try_into().ok()
}
