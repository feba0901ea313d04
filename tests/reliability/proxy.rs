//! A DynamoDB that misbehaves: an HTTP proxy in front of the embedded one. It also does what the embedded one never
//! does and AWS does all the time: of two transactions that overlap on an item, it refuses one.
//!
//! Nothing in it sleeps. What must be late waits until the client has hung up, or until other requests have passed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::runtime_api::http1::Message;

/// Whether and when DynamoDB gets the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    Never,
    AtOnce,
    /// After the client has given up on it, and after some other requests.
    Late,
}

/// What the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// DynamoDB's own answer.
    Answer,
    /// The connection reset.
    Reset,
    /// Nothing, until it hangs up.
    Silence,
    /// A part of DynamoDB's answer, then the end of the connection.
    Half,
    /// Status 200 with something else in it.
    Garbage,
    /// Status 200 with nothing in it at all.
    Empty,
    /// A failure of DynamoDB's own, with this status and code.
    Failure(u16, &'static str),
    /// A failure of something before DynamoDB, with this status.
    Page(u16),
    /// A cancellation with these reasons, the second with an old item at the limit where its condition failed.
    Cancelled([&'static str; 2]),
}

/// One thing that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) Applied, pub(crate) Ending);

/// No fault.
pub(crate) const PASS: Fault = Fault(Applied::AtOnce, Ending::Answer);

/// What must follow from a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The attempt certainly wrote nothing: retried, and `try_again` in the end.
    Refused,
    /// Nobody can tell: retried, and `internal_error` in the end.
    Unknown,
    /// Retrying will not help, and nothing was written: `internal_error` at once.
    Hopeless,
}

const CONFLICT: &str = "TransactionConflict";
const THROTTLING: &str = "ThrottlingError";
const THROUGHPUT: &str = "ProvisionedThroughputExceeded";
const CONDITION: &str = "ConditionalCheckFailed";
const PASSED: &str = "None";

/// Every fault of a write, by name.
pub(crate) const FAULTS: &[(&str, Fault, Fate)] = {
    use Applied::{AtOnce, Late, Never};
    use Ending::{Cancelled, Empty, Failure, Garbage, Half, Page, Reset, Silence};
    use Fate::{Hopeless, Refused, Unknown};
    &[
        ("reset before", Fault(Never, Reset), Unknown),
        ("reset after", Fault(AtOnce, Reset), Unknown),
        ("lost request", Fault(Never, Silence), Unknown),
        ("lost answer", Fault(AtOnce, Silence), Unknown),
        ("late request", Fault(Late, Silence), Unknown),
        ("half answer", Fault(AtOnce, Half), Unknown),
        ("garbage before", Fault(Never, Garbage), Unknown),
        ("garbage after", Fault(AtOnce, Garbage), Unknown),
        ("empty 200 before", Fault(Never, Empty), Unknown),
        ("500 before", Fault(Never, Failure(500, "InternalServerError")), Unknown),
        ("500 after", Fault(AtOnce, Failure(500, "InternalServerError")), Unknown),
        ("503 before", Fault(Never, Failure(503, "ServiceUnavailable")), Unknown),
        ("503 after", Fault(AtOnce, Failure(503, "ServiceUnavailable")), Unknown),
        ("502 page after", Fault(AtOnce, Page(502)), Unknown),
        ("400 page", Fault(Never, Page(400)), Unknown),
        ("in progress", Fault(Never, Failure(400, "TransactionInProgressException")), Unknown),
        ("access denied", Fault(Never, Failure(400, "AccessDeniedException")), Hopeless),
        ("validation", Fault(Never, Failure(400, "ValidationException")), Hopeless),
        ("throttled", Fault(Never, Failure(400, "ThrottlingException")), Refused),
        ("throughput", Fault(Never, Failure(400, "ProvisionedThroughputExceededException")), Refused),
        ("request limit", Fault(Never, Failure(400, "RequestLimitExceeded")), Refused),
        ("conflict on both", Fault(Never, Cancelled([CONFLICT, CONFLICT])), Refused),
        ("conflict on the record", Fault(Never, Cancelled([CONFLICT, PASSED])), Refused),
        ("conflict on the counter", Fault(Never, Cancelled([PASSED, CONFLICT])), Refused),
        ("conflict, counter full", Fault(Never, Cancelled([CONFLICT, CONDITION])), Refused),
        ("record throttled", Fault(Never, Cancelled([THROTTLING, PASSED])), Refused),
        ("record throttled, counter full", Fault(Never, Cancelled([THROTTLING, CONDITION])), Refused),
        ("counter throttled", Fault(Never, Cancelled([PASSED, THROTTLING])), Refused),
        ("throughput of the record", Fault(Never, Cancelled([THROUGHPUT, CONFLICT])), Refused),
        ("throughput of the counter", Fault(Never, Cancelled([PASSED, THROUGHPUT])), Refused),
    ]
};

/// Holds one request, so that a test can act while it is on its way.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    arrived: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { arrived: Arc::new(Semaphore::new(0)), go: Arc::new(Semaphore::new(0)) }
    }

    /// Until the request is there, and applied if it is to be.
    pub(crate) async fn arrived(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }

    /// Lets it go on.
    pub(crate) fn open(&self) {
        self.go.add_permits(1);
    }

    async fn pass(&self) {
        self.arrived.add_permits(1);
        self.go.acquire().await.unwrap().forget();
    }
}

/// Faults drawn at random.
#[derive(Debug)]
struct Mix {
    random: fastrand::Rng,
    percent: u32,
    faults: Vec<Fault>,
}

impl Mix {
    fn draw(&mut self) -> Option<Fault> {
        (self.random.u32(..100) < self.percent).then(|| self.faults[self.random.usize(..self.faults.len())])
    }
}

#[derive(Debug, Default)]
struct State {
    /// For the next writes, in order, before anything is drawn.
    writes: VecDeque<(Fault, Option<Gate>)>,
    /// For every write after those.
    every_write: Option<Fault>,
    /// For every read.
    every_read: Option<Fault>,
    mix: Option<Mix>,
    /// The items of the transactions that are at work.
    busy: BTreeSet<String>,
    tally: Tally,
}

/// What has passed through.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    /// Requests of all kinds.
    pub(crate) requests: u64,
    /// Transactions among them.
    pub(crate) writes: u64,
    /// Transactions refused because another was at work on the same item.
    pub(crate) overlaps: u64,
    /// Faults by their name.
    pub(crate) faults: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts another proxy's too.
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.writes += other.writes;
        self.overlaps += other.overlaps;
        for (name, count) in &other.faults {
            *self.faults.entry(name.clone()).or_default() += count;
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Requests that have been answered or dropped.
    passed: u64,
    /// How often it was healed.
    healed: u64,
}

#[derive(Debug)]
struct Shared {
    database: SocketAddr,
    state: Mutex<State>,
    /// What is late waits for it.
    progress: watch::Sender<Progress>,
    /// Late requests that have not been applied yet.
    late: watch::Sender<u64>,
}

/// The proxy. It listens until it is dropped, but for the time that it is [`Proxy::gone`].
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: Mutex<Option<AbortHandle>>,
}

impl Proxy {
    pub(crate) async fn start(database: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared {
            database,
            state: Mutex::default(),
            progress: watch::Sender::default(),
            late: watch::Sender::new(0),
        };
        let proxy = Self { address, shared: Arc::new(shared), serving: Mutex::new(None) };
        proxy.serve(listener);
        proxy
    }

    fn serve(&self, listener: TcpListener) {
        let serving = tokio::spawn(accept(listener, Arc::clone(&self.shared)));
        *self.serving.lock().unwrap() = Some(serving.abort_handle());
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Nothing listens any more, and every connection is at its end.
    pub(crate) fn gone(&self) {
        if let Some(serving) = self.serving.lock().unwrap().take() {
            serving.abort();
        }
    }

    /// It listens again, where it did.
    pub(crate) async fn back(&self) {
        // The old listener closes when its task has been dropped, which is soon and not now.
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        self.serve(listener);
    }

    /// What befalls the next write.
    pub(crate) fn next_write(&self, fault: Fault, gate: Option<&Gate>) {
        self.shared.state().writes.push_back((fault, gate.cloned()));
    }

    /// What befalls every write that no other fault was meant for.
    pub(crate) fn every_write(&self, fault: Option<Fault>) {
        self.shared.state().every_write = fault;
    }

    /// What befalls every read.
    pub(crate) fn every_read(&self, fault: Option<Fault>) {
        self.shared.state().every_read = fault;
    }

    /// Draws a fault for so many of a hundred writes, and of reads where it can befall one.
    pub(crate) fn mix(&self, seed: u64, percent: u32, faults: Vec<Fault>) {
        let random = fastrand::Rng::with_seed(seed);
        self.shared.state().mix = (percent > 0).then_some(Mix { random, percent, faults });
    }

    /// No faults from now on; and all that was held back has been applied.
    pub(crate) async fn heal(&self) {
        {
            let mut state = self.shared.state();
            let State { writes, every_write, every_read, mix, .. } = &mut *state;
            writes.clear();
            (*every_write, *every_read, *mix) = (None, None, None);
        }
        self.shared.progress.send_modify(|progress| progress.healed += 1);
        self.shared.late.subscribe().wait_for(|late| *late == 0).await.unwrap();
    }

    pub(crate) fn tally(&self) -> Tally {
        self.shared.state().tally.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.gone();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn passed(&self) {
        self.progress.send_modify(|progress| progress.passed += 1);
    }

    fn choose(&self, request: &Call) -> (Fault, Option<Gate>) {
        let mut state = self.state();
        state.tally.requests += 1;
        let State { writes, every_write, every_read, mix, tally, .. } = &mut *state;
        let (fault, gate) = match request.kind {
            Kind::Write => {
                tally.writes += 1;
                writes.pop_front().or_else(|| every_write.map(|fault| (fault, None))).unwrap_or((PASS, None))
            }
            Kind::Read => (every_read.unwrap_or(PASS), None),
            Kind::Other => return (PASS, None),
        };
        let drawn = mix.as_mut().filter(|_| fault == PASS).and_then(Mix::draw);
        let fault = match drawn {
            // A read is not a transaction.
            Some(Fault(_, Ending::Cancelled(_))) if request.kind == Kind::Read => PASS,
            Some(drawn) => drawn,
            None => fault,
        };
        if let Some((name, ..)) = FAULTS.iter().find(|(_, named, _)| *named == fault) {
            *tally.faults.entry((*name).to_owned()).or_default() += 1;
        }
        (fault, gate)
    }

    /// Sends the request to DynamoDB, unless another transaction is at work on one of its items.
    async fn apply(&self, call: &Call) -> std::io::Result<Message> {
        if call.kind == Kind::Write {
            let mut state = self.state();
            let codes = call.items.iter().map(|item| if state.busy.contains(item) { CONFLICT } else { PASSED });
            let codes: Vec<_> = codes.collect();
            if codes.contains(&CONFLICT) {
                state.tally.overlaps += 1;
                return Ok(cancelled(&codes, call));
            }
            state.busy.extend(call.items.iter().cloned());
        }
        let answer = self.forward(&call.message).await;
        if call.kind == Kind::Write {
            self.state().busy.retain(|item| !call.items.contains(item));
        }
        answer
    }

    async fn forward(&self, message: &Message) -> std::io::Result<Message> {
        let mut database = TcpStream::connect(self.database).await?;
        message.write(&mut database).await?;
        Message::read(&mut database).await?.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // The client may hang up whenever it likes.
            let _ = converse(stream, shared).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(mut stream: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    while let Some(message) = Message::read(&mut stream).await? {
        let call = Arc::new(Call::of(message));
        let (Fault(applied, ending), gate) = shared.choose(&call);
        let answer = match applied {
            Applied::AtOnce => {
                // In a task of its own: what has been sent is applied, even if this connection is cut off meanwhile.
                let (shared, call) = (Arc::clone(&shared), Arc::clone(&call));
                Some(tokio::spawn(async move { shared.apply(&call).await }).await.unwrap()?)
            }
            Applied::Late => {
                shared.late.send_modify(|late| *late += 1);
                tokio::spawn(apply_late(Arc::clone(&shared), Arc::clone(&call)));
                None
            }
            Applied::Never => None,
        };
        if let Some(gate) = gate {
            gate.pass().await;
        }
        let answer = match ending {
            Ending::Answer => answer.unwrap(),
            Ending::Reset => {
                stream.set_zero_linger()?;
                shared.passed();
                return Ok(());
            }
            Ending::Silence => {
                let _ = stream.read(&mut [0]).await;
                shared.passed();
                return Ok(());
            }
            Ending::Half => {
                let whole = answer.unwrap().to_bytes();
                stream.write_all(&whole[..whole.len() - 1]).await?;
                return Ok(());
            }
            Ending::Garbage => Message::answer(200, &JSON, b"<html>It works!</html>".to_vec()),
            Ending::Empty => Message::answer(200, &JSON, Vec::new()),
            Ending::Failure(status, code) => failure(status, code, json!({})),
            Ending::Page(status) => Message::answer(status, &[("content-type", "text/html")], b"<html>".to_vec()),
            Ending::Cancelled(codes) => cancelled(&codes, &call),
        };
        shared.passed();
        answer.write(&mut stream).await?;
    }
    Ok(())
}

/// Applies a request when some others have passed: where faults are drawn, up to 30 of them, otherwise all.
async fn apply_late(shared: Arc<Shared>, call: Arc<Call>) {
    let others = shared.state().mix.as_mut().map(|mix| mix.random.u64(1..=30));
    let mut progress = shared.progress.subscribe();
    let then = *progress.borrow();
    let is_due = |now: &Progress| now.healed > then.healed || others.is_some_and(|n| now.passed >= then.passed + n);
    let _ = progress.wait_for(is_due).await;
    let _ = shared.apply(&call).await;
    shared.late.send_modify(|late| *late -= 1);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Read,
    Other,
}

#[derive(Debug)]
struct Call {
    message: Message,
    kind: Kind,
    /// The keys of a transaction's items, in order.
    items: Vec<String>,
}

impl Call {
    fn of(message: Message) -> Self {
        let kind = match message.header("x-amz-target") {
            Some("DynamoDB_20120810.TransactWriteItems") => Kind::Write,
            Some("DynamoDB_20120810.GetItem") => Kind::Read,
            _ => Kind::Other,
        };
        let mut items = Vec::new();
        if kind == Kind::Write {
            let body: Value = serde_json::from_slice(&message.body).unwrap();
            let actions = body["TransactItems"].as_array().unwrap().iter();
            // Each has one member, which says what is done to the item.
            items.extend(actions.flat_map(|action| action.as_object().unwrap().values()).map(|action| {
                assert_eq!(action["Key"].as_object().map(serde_json::Map::len), Some(2));
                action["Key"]["pk"]["S"].as_str().unwrap().to_owned()
            }));
        }
        Self { message, kind, items }
    }
}

const JSON: [(&str, &str); 1] = [("content-type", "application/x-amz-json-1.0")];

fn failure(status: u16, code: &str, mut body: Value) -> Message {
    body["__type"] = format!("com.amazonaws.dynamodb.v20120810#{code}").into();
    body["message"] = "made up".into();
    Message::answer(status, &JSON, body.to_string().into_bytes())
}

fn cancelled(codes: &[&str], call: &Call) -> Message {
    let reasons = codes.iter().zip(&call.items).map(|(code, item)| match *code {
        CONDITION => {
            let item = json!({ "pk": { "S": item }, "sk": { "S": "PHONE" }, "ccid_count": { "N": "50" } });
            json!({ "Code": CONDITION, "Message": "The conditional request failed", "Item": item })
        }
        code => json!({ "Code": code }),
    });
    let reasons: Vec<_> = reasons.collect();
    failure(400, "TransactionCanceledException", json!({ "CancellationReasons": reasons }))
}
