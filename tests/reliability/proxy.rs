//! A DynamoDB that misbehaves: an HTTP proxy in front of the embedded one. It also does what the embedded one never
//! does and AWS does all the time: of two transactions that overlap on an item it refuses one, or both.
//!
//! Nothing in it sleeps. What must be late waits until the client has hung up, or until other requests have passed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::fault_table::{Applied, CONFLICT, Ending, FAULTS, Fault, PASS, PASSED};
use crate::messages::{Call, JSON, Kind, cancelled, failure};
use testkit::http1::Message;

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
    /// The transactions that are at work, by their place in the order of all.
    working: BTreeMap<u64, Working>,
    begun: u64,
    tally: Tally,
}

/// A transaction that is at work.
#[derive(Debug)]
struct Working {
    items: Vec<String>,
    /// Past the point where another can still have it refused.
    is_prepared: bool,
    /// Of its items, those on which another has.
    conflicts: BTreeSet<String>,
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
    /// Write units of all that came to be carried out, were each item below 1 KB: a refused one costs as much as another.
    pub(crate) units: u64,
    /// Those of them that overlaps cost.
    pub(crate) wasted: u64,
    /// Faults by their name.
    pub(crate) faults: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts another proxy's too.
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.writes += other.writes;
        self.overlaps += other.overlaps;
        self.units += other.units;
        self.wasted += other.wasted;
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
    /// Requests that were sent, and have not been applied yet.
    pending: watch::Sender<u64>,
}

/// The proxy. It listens until it is dropped, but for the time that it is [`Proxy::gone`].
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: Mutex<Option<Serving>>,
    /// While it is gone, its address is kept from whoever else opens a connection on this machine.
    held: Mutex<Option<TcpSocket>>,
    /// One outage at a time.
    outage: tokio::sync::Mutex<()>,
}

/// The task that listens. It ends when the sender is dropped, with all its connections.
type Serving = (oneshot::Sender<()>, JoinHandle<()>);

/// Something listens where the proxy did, and takes no connection until it is dropped.
pub(crate) struct Deaf {
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Proxy {
    pub(crate) async fn start(database: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared {
            database,
            state: Mutex::default(),
            progress: watch::Sender::default(),
            pending: watch::Sender::new(0),
        };
        let proxy = Self {
            address,
            shared: Arc::new(shared),
            serving: Mutex::default(),
            held: Mutex::default(),
            outage: tokio::sync::Mutex::default(),
        };
        proxy.serve(listener);
        proxy
    }

    fn serve(&self, listener: TcpListener) {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, Arc::clone(&self.shared), stopped));
        *self.serving.lock().unwrap() = Some((stop, task));
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Nothing listens any more, and every connection is at its end.
    pub(crate) async fn gone(&self) {
        let serving = self.serving.lock().unwrap().take();
        if let Some((stop, task)) = serving {
            drop(stop);
            task.await.unwrap();
        }
        let held = self.hold().await;
        *self.held.lock().unwrap() = Some(held);
    }

    /// A socket that has the proxy's address and does not listen.
    async fn hold(&self) -> TcpSocket {
        loop {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            match socket.bind(self.address) {
                Ok(()) => return socket,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    fn take_held(&self) -> Option<TcpSocket> {
        self.held.lock().unwrap().take()
    }

    /// It listens again, where it did.
    pub(crate) async fn back(&self) {
        let socket = match self.take_held() {
            Some(held) => held,
            None => self.hold().await,
        };
        self.serve(socket.listen(1024).unwrap());
    }

    /// Gone and back: every connection is cut.
    pub(crate) async fn cut(&self) {
        let _one = self.outage.lock().await;
        self.gone().await;
        self.back().await;
    }

    /// [`Proxy::gone`], and whoever asks for a connection hears nothing at all.
    pub(crate) async fn deaf(&self) -> Deaf {
        self.gone().await;
        let listener = self.take_held().unwrap().listen(1).unwrap();
        // One more than the queue was made for, and it is full.
        let waiting =
            [TcpStream::connect(self.address).await.unwrap(), TcpStream::connect(self.address).await.unwrap()];
        Deaf { _listener: listener, _waiting: waiting.into() }
    }

    /// Until so many more requests have been answered or dropped.
    pub(crate) async fn passed(&self, more: u64) {
        let mut progress = self.shared.progress.subscribe();
        let until = progress.borrow().passed + more;
        progress.wait_for(|now| now.passed >= until).await.unwrap();
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
        self.shared.pending.subscribe().wait_for(|pending| *pending == 0).await.unwrap();
    }

    pub(crate) fn tally(&self) -> Tally {
        self.shared.state().tally.clone()
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

    /// Sends the request to DynamoDB. Two transactions that meet on an item are refused: the later always, and where
    /// faults are drawn sometimes both.
    async fn apply(&self, call: &Call) -> std::io::Result<Message> {
        if call.kind != Kind::Write {
            return self.forward(call, || None).await;
        }
        let me = {
            let mut state = self.state();
            state.tally.units += call.units();
            state.begun += 1;
            let me = state.begun;
            let both = state.mix.as_mut().is_some_and(|mix| mix.random.bool());
            let mut conflicts = BTreeSet::new();
            for other in state.working.values_mut() {
                let shared: Vec<_> = call.items.iter().filter(|item| other.items.contains(item)).cloned().collect();
                if both && !other.is_prepared {
                    other.conflicts.extend(shared.iter().cloned());
                }
                conflicts.extend(shared);
            }
            if !conflicts.is_empty() {
                return Ok(state.refuse(call, &conflicts));
            }
            let working = Working { items: call.items.clone(), is_prepared: false, conflicts };
            state.working.insert(me, working);
            me
        };
        // As long as a thousand other things take: by then, another may have come.
        for _ in 0..fastrand::u32(..1000) {
            tokio::task::yield_now().await;
        }
        let refused = || {
            let mut state = self.state();
            let working = state.working.get_mut(&me)?;
            working.is_prepared = true;
            let conflicts = std::mem::take(&mut working.conflicts);
            (!conflicts.is_empty()).then(|| state.refuse(call, &conflicts))
        };
        let answer = self.forward(call, refused).await;
        self.state().working.remove(&me);
        answer
    }

    /// Sends the request to DynamoDB, unless it is `refused` at the last moment.
    async fn forward(&self, call: &Call, refused: impl FnOnce() -> Option<Message>) -> std::io::Result<Message> {
        let mut database = TcpStream::connect(self.database).await?;
        if let Some(refused) = refused() {
            return Ok(refused);
        }
        call.message.write(&mut database).await?;
        Message::read(&mut database).await?.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }

    /// Applies the request when `due`, whatever becomes of its connection meanwhile.
    fn send(
        self: &Arc<Self>,
        call: &Arc<Call>,
        due: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<std::io::Result<Message>> {
        self.pending.send_modify(|pending| *pending += 1);
        let (shared, call) = (Arc::clone(self), Arc::clone(call));
        tokio::spawn(async move {
            due.await;
            let answer = shared.apply(&call).await;
            shared.pending.send_modify(|pending| *pending -= 1);
            answer
        })
    }

    /// When some other requests have passed: where faults are drawn, up to 30 of them, otherwise all.
    fn late(&self) -> impl Future<Output = ()> + use<> {
        let others = self.state().mix.as_mut().map(|mix| mix.random.u64(1..=30));
        let mut progress = self.progress.subscribe();
        let then = *progress.borrow();
        let is_due =
            move |now: &Progress| now.healed > then.healed || others.is_some_and(|n| now.passed >= then.passed + n);
        async move {
            let _ = progress.wait_for(is_due).await;
        }
    }
}

impl State {
    /// Because of another transaction on these of its items.
    fn refuse(&mut self, call: &Call, conflicts: &BTreeSet<String>) -> Message {
        self.tally.overlaps += 1;
        self.tally.wasted += call.units();
        let codes = call.items.iter().map(|item| if conflicts.contains(item) { CONFLICT } else { PASSED });
        cancelled(&codes.collect::<Vec<_>>(), call)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => break,
        };
        let Ok((stream, _)) = accepted else { break };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // The client may hang up whenever it likes.
            let _ = converse(stream, shared).await;
        });
        while connections.try_join_next().is_some() {}
    }
    connections.shutdown().await;
}

async fn converse(mut stream: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    while let Some(message) = Message::read(&mut stream).await? {
        let call = Arc::new(Call::of(message));
        let (Fault(applied, ending), gate) = shared.choose(&call);
        let answer = match applied {
            Applied::AtOnce => Some(shared.send(&call, std::future::ready(())).await.unwrap()?),
            Applied::Late => {
                shared.send(&call, shared.late());
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
                shared.passed();
                return Ok(());
            }
            Ending::Garbage => Message::response(200, &JSON, b"<html>It works!</html>".to_vec()),
            Ending::Empty => Message::response(200, &JSON, Vec::new()),
            Ending::Failure(status, code) => failure(status, code, json!({})),
            Ending::Page(status) => Message::response(status, &[("content-type", "text/html")], b"<html>".to_vec()),
            Ending::Cancelled(codes) => cancelled(&codes, &call),
        };
        shared.passed();
        answer.write(&mut stream).await?;
    }
    Ok(())
}
