//! A DynamoDB API inside this process, over HTTP like the real one, so that nothing above it knows the difference.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use cdm_lambda::config::Endpoint;
use dynoxide::Database;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::dev::data_file::{self, DataFile};
use crate::ui::Failure;

/// The region that local endpoints are addressed in. Any would do.
pub const REGION: &str = "us-east-1";

/// A running database. It stops when [`Embedded::stop`] is called or the process ends.
#[derive(Debug)]
pub struct Embedded {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), String>>,
}

impl Embedded {
    /// Serves a database on `listener`: in memory, or in `file`.
    ///
    /// # Errors
    /// A file that cannot be opened as a database.
    pub fn start(listener: TcpListener, file: Option<&Path>) -> Result<Self, Failure> {
        let (database, lock) = match file {
            None => {
                let database = Database::memory();
                (database.map_err(|error| Failure(format!("the database cannot start: {error}")))?, None)
            }
            Some(file) => {
                let DataFile { database, lock } = data_file::open(file)?;
                (database, Some(lock))
            }
        };
        let address =
            listener.local_addr().map_err(|error| Failure(format!("the database has no address: {error}")))?;
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async {
            let ended = dynoxide::server::serve_with_shutdown(listener, database, async {
                // Either way, sent or dropped, it is over.
                let _ = stopped.await;
            });
            let ended = ended.await;
            drop(lock);
            ended
        });
        Ok(Self { address, stop, served })
    }

    /// An in-memory database on a free port of this machine.
    ///
    /// # Errors
    /// No free port.
    pub async fn in_memory() -> Result<Self, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(|error| Failure(format!("no port is free on 127.0.0.1: {error}")))?;
        Self::start(listener, None)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How a client reaches it from this machine.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            region: REGION.to_owned(),
            url: Some(format!("http://{}", from_this_machine(self.address))),
            ca_bundle: None,
            use_fips: false,
            use_dual_stack: false,
        }
    }

    /// Stops it, and waits until its file is whole.
    ///
    /// # Errors
    /// The server failed while it ran.
    pub async fn stop(self) -> Result<(), Failure> {
        drop(self.stop);
        match self.served.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure(format!("the database failed: {error}"))),
            Err(_) => Err(Failure("the database failed".to_owned())),
        }
    }
}

/// The address by which this machine reaches a listener: that of loopback where it listens on every address.
pub(crate) fn from_this_machine(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// Credentials for an endpoint that checks none.
pub fn any_credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new("local", "local", None, None, "local"))
}
