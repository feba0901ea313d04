//! A proxy in front of the database that throttles writes or loses connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use testkit::http1::Message;

/// What it does with a call other than `GetItem`, which always passes. `ThrottleItems` and `Deny` apply only to
/// `TransactWriteItems`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Forward,
    /// Refuses it with DynamoDB's error of a throttled table.
    Throttle,
    /// Refuses it with DynamoDB's error of a missing permission.
    Deny,
    /// Cancels transactions with throttled items as the reason, and passes every other write.
    ThrottleItems,
    /// Passes it, then closes the connection instead of responding.
    LoseResponses,
    /// Closes the connection before passing it.
    Unreachable,
}

const MODES: [Mode; 6] =
    [Mode::Forward, Mode::Throttle, Mode::Deny, Mode::ThrottleItems, Mode::LoseResponses, Mode::Unreachable];

const THROTTLED: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slow down"}"#;

const DENIED: &str =
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#AccessDeniedException","Message":"not authorized"}"#;

const ITEMS_THROTTLED: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"cancelled","CancellationReasons":[{"Code":"ThrottlingError","Message":"slow down"},{"Code":"None"}]}"#;

#[derive(Debug, Default)]
struct State {
    mode: AtomicU8,
    /// How many more writes pass before the mode applies.
    forward: AtomicUsize,
    /// The number of disturbed writes.
    disturbed: AtomicUsize,
    /// Notified for each disturbed write.
    more: Notify,
}

pub(crate) struct Proxy {
    pub(crate) url: String,
    state: Arc<State>,
}

impl Proxy {
    pub(crate) async fn before(database: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let to = database.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let (to, state) = (to.clone(), Arc::clone(&shared));
                tokio::spawn(async move { serve(caller, &to, &state).await });
            }
        });
        Self { url, state }
    }

    /// Sets the mode, which applies after `forward` writes.
    pub(crate) fn set(&self, mode: Mode, forward: usize) {
        self.state.forward.store(forward, SeqCst);
        let place = MODES.iter().position(|one| *one == mode).unwrap();
        self.state.mode.store(u8::try_from(place).unwrap(), SeqCst);
    }

    /// Waits until this number of writes was disturbed in total.
    pub(crate) async fn disturbed(&self, writes: usize) {
        while self.state.disturbed.load(SeqCst) < writes {
            self.state.more.notified().await;
        }
    }
}

/// Serves one connection until either side closes it.
async fn serve(mut caller: TcpStream, to: &str, state: &State) -> Option<()> {
    let mut database = TcpStream::connect(to).await.ok()?;
    loop {
        let request = Message::read(&mut caller).await.ok()??;
        let mode = MODES[usize::from(state.mode.load(SeqCst))];
        let is_call = |operation| request.header("x-amz-target").is_some_and(|target| target.ends_with(operation));
        let is_spared =
            is_call("GetItem") || ([Mode::ThrottleItems, Mode::Deny].contains(&mode) && !is_call("TransactWriteItems"));
        let one_less = |left: usize| left.checked_sub(1);
        if is_spared || mode == Mode::Forward || state.forward.fetch_update(SeqCst, SeqCst, one_less).is_ok() {
            request.write(&mut database).await.ok()?;
            Message::read(&mut database).await.ok()??.write(&mut caller).await.ok()?;
            continue;
        }
        state.disturbed.fetch_add(1, SeqCst);
        state.more.notify_one();
        match mode {
            Mode::Throttle | Mode::ThrottleItems | Mode::Deny => {
                let body = match mode {
                    Mode::Throttle => THROTTLED,
                    Mode::Deny => DENIED,
                    _ => ITEMS_THROTTLED,
                };
                let headers = [("content-type", "application/x-amz-json-1.0")];
                Message::response(400, &headers, body.into()).write(&mut caller).await.ok()?;
            }
            Mode::LoseResponses => {
                request.write(&mut database).await.ok()?;
                Message::read(&mut database).await.ok()??;
                return None;
            }
            _ => return None,
        }
    }
}
