//! A proxy between the function and the database that injects faults: [`faults`] chooses them, [`server`] carries them out.
//!
//! It also refuses overlapping transactions ([`transactions`]), as AWS does and the embedded database does not.
//!
//! Nothing here waits for a fixed time. A delayed request waits until other requests have ended, or until the faults are
//! cleared.

mod faults;
mod gate;
mod messages;
mod server;
mod stats;
mod transactions;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::fault_table::Fault;

pub(crate) use gate::Gate;
pub(crate) use stats::ProxyStats;

/// The proxy. It listens until it is dropped, except between [`Proxy::stop`] and [`Proxy::restart`].
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Mutex<Option<Server>>,
    /// While the proxy is stopped, this socket keeps its address from every other process.
    reserved: Mutex<Option<TcpSocket>>,
    /// Allows one [`Proxy::disconnect`] at a time.
    disconnecting: tokio::sync::Mutex<()>,
}

/// The listening task. It ends, with all its connections, when the sender is dropped.
type Server = (oneshot::Sender<()>, JoinHandle<()>);

/// A listener at the proxy's address that accepts no connection.
pub(crate) struct FullListener {
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

#[derive(Debug)]
struct Shared {
    database: SocketAddr,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    /// Requests that are on their way to the database.
    in_flight: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    faults: faults::Script,
    transactions: transactions::Open,
    stats: ProxyStats,
}

/// What delayed requests wait for.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Requests that have ended, with or without a response.
    ended: u64,
    /// Calls of [`Proxy::clear_faults`].
    cleared: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    pub(crate) async fn start(database: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared {
            database,
            state: Mutex::default(),
            progress: watch::Sender::default(),
            in_flight: watch::Sender::new(0),
        };
        let proxy = Self {
            address,
            shared: Arc::new(shared),
            server: Mutex::default(),
            reserved: Mutex::default(),
            disconnecting: tokio::sync::Mutex::default(),
        };
        proxy.serve(listener);
        proxy
    }

    fn serve(&self, listener: TcpListener) {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server::accept(listener, Arc::clone(&self.shared), stopped));
        *self.server.lock().unwrap() = Some((stop, task));
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening and closes every connection.
    pub(crate) async fn stop(&self) {
        let server = self.server.lock().unwrap().take();
        if let Some((stop, task)) = server {
            drop(stop);
            task.await.unwrap();
        }
        let reserved = self.reserve_address().await;
        *self.reserved.lock().unwrap() = Some(reserved);
    }

    /// Listens again, at the same address.
    pub(crate) async fn restart(&self) {
        let socket = match self.take_reserved() {
            Some(reserved) => reserved,
            None => self.reserve_address().await,
        };
        self.serve(socket.listen(1024).unwrap());
    }

    /// Stops and restarts, so that every connection closes.
    pub(crate) async fn disconnect(&self) {
        let _one = self.disconnecting.lock().await;
        self.stop().await;
        self.restart().await;
    }

    /// Stops, and leaves connection attempts without any response.
    pub(crate) async fn ignore_connections(&self) -> FullListener {
        self.stop().await;
        let listener = self.take_reserved().unwrap().listen(1).unwrap();
        // Two connections fill a queue of one.
        let queued = [TcpStream::connect(self.address).await.unwrap(), TcpStream::connect(self.address).await.unwrap()];
        FullListener { _listener: listener, _queued: queued.into() }
    }

    /// Binds a socket to the proxy's address without listening.
    async fn reserve_address(&self) -> TcpSocket {
        loop {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            match socket.bind(self.address) {
                Ok(()) => return socket,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    fn take_reserved(&self) -> Option<TcpSocket> {
        self.reserved.lock().unwrap().take()
    }

    /// Waits until `more` more requests have ended.
    pub(crate) async fn wait_for_calls(&self, more: u64) {
        let mut progress = self.shared.progress.subscribe();
        let until = progress.borrow().ended + more;
        progress.wait_for(|now| now.ended >= until).await.unwrap();
    }

    /// Injects a fault into the next write. The gate holds the write until the test opens it.
    pub(crate) fn next_write(&self, fault: Fault, gate: Option<&Gate>) {
        self.shared.state().faults.next_writes.push_back((fault, gate.cloned()));
    }

    /// Injects a fault into every write that [`Proxy::next_write`] does not apply to.
    pub(crate) fn every_write(&self, fault: Option<Fault>) {
        self.shared.state().faults.every_write = fault;
    }

    /// Injects a fault into every read.
    pub(crate) fn every_read(&self, fault: Option<Fault>) {
        self.shared.state().faults.every_read = fault;
    }

    /// Injects a random one of `faults` into `percent` percent of the calls.
    pub(crate) fn random_faults(&self, seed: u64, percent: u32, faults: Vec<Fault>) {
        self.shared.state().faults.random = faults::Random::new(seed, percent, faults);
    }

    /// Removes all faults, and waits until the database has received every delayed request.
    pub(crate) async fn clear_faults(&self) {
        self.shared.state().faults = faults::Script::default();
        self.shared.progress.send_modify(|progress| progress.cleared += 1);
        self.shared.in_flight.subscribe().wait_for(|in_flight| *in_flight == 0).await.unwrap();
    }

    pub(crate) fn stats(&self) -> ProxyStats {
        self.shared.state().stats.clone()
    }
}
