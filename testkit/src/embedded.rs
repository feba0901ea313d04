//! A DynamoDB in this process. Clients reach it over HTTP, as they reach the real one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use cdm_lambda::config::Endpoint;
use dynoxide::Database;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::Error;

/// The region of a local endpoint. The database ignores it.
pub const REGION: &str = "us-east-1";

/// A running database. It stops when it is dropped, when [`Embedded::stop`] is called, or when the process ends.
#[derive(Debug)]
pub struct Embedded {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), String>>,
}

impl Embedded {
    /// Starts an in-memory database on a free port of this machine.
    ///
    /// # Errors
    /// No port is free.
    pub async fn in_memory() -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(|error| Error(format!("no port is free on 127.0.0.1: {error}")))?;
        Self::in_memory_on(listener)
    }

    /// Starts an in-memory database on `listener`.
    ///
    /// # Errors
    /// The database cannot start.
    pub fn in_memory_on(listener: TcpListener) -> Result<Self, Error> {
        let database = Database::memory().map_err(|error| Error(format!("the database cannot start: {error}")))?;
        Self::serve(listener, database, ())
    }

    /// Serves `database` on `listener`. `guard` is dropped after the database.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn serve(listener: TcpListener, database: Database, guard: impl Send + 'static) -> Result<Self, Error> {
        let address = listener.local_addr().map_err(|error| Error(format!("the database has no address: {error}")))?;
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(async {
            let served = dynoxide::server::serve_with_shutdown(listener, database, async {
                // A message and a dropped sender both mean stop.
                let _ = stopped.await;
            });
            let served = served.await;
            drop(guard);
            served
        });
        Ok(Self { address, stop, server })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint for a client on this machine.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            region: REGION.to_owned(),
            url: Some(format!("http://{}", from_this_machine(self.address))),
            ca_bundle: None,
            use_fips: false,
            use_dual_stack: false,
        }
    }

    /// Stops it, and waits until its file is complete.
    ///
    /// # Errors
    /// The server failed while it ran.
    pub async fn stop(self) -> Result<(), Error> {
        drop(self.stop);
        match self.server.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Error(format!("the database failed: {error}"))),
            Err(_) => Err(Error("the database failed".to_owned())),
        }
    }
}

/// The address by which this machine reaches a listener: loopback if it listens on every address.
pub fn from_this_machine(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// Credentials for an endpoint that does not check them.
pub fn any_credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new("local", "local", None, None, "local"))
}
