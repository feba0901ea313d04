//! Which database the dev server uses.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use axum::http::Uri;
use testkit::embedded::{self, Embedded};
use tokio::net::TcpStream;

use crate::aws::environment::{is_loopback_name, is_this_machine, non_empty};
use crate::dev::data_file::{self, DataFile};
use crate::dev::listen::bind;
use crate::table::connection::Connection;
use crate::ui::Failure;

/// The database that the handler uses.
pub(crate) enum Database {
    Embedded {
        database: Embedded,
        /// The value of `AWS_ENDPOINT_URL_DYNAMODB`, if the embedded database runs at that address.
        named_by: Option<String>,
    },
    /// The database at the address in `AWS_ENDPOINT_URL_DYNAMODB`.
    Other { url: String },
}

impl Database {
    /// Selects the database that `AWS_ENDPOINT_URL_DYNAMODB` names, or the embedded one. It selects the
    /// embedded one if the variable is not set, or if the variable has the embedded database's address and
    /// nothing listens there. So a shell that exports the variable for the other commands can also start the
    /// dev server.
    pub(crate) async fn find(listen: &str, port: u16, data: Option<&Path>) -> Result<Self, Failure> {
        let url = non_empty("AWS_ENDPOINT_URL_DYNAMODB");
        if let Some(url) = &url {
            let is_own = is_own_address(listen, port, url);
            let is_free = (is_own || is_this_machine(url)) && is_free(url).await;
            if is_free && is_own {
                return Self::embedded(listen, port, data, Some(url.clone())).await;
            }
            if is_free {
                return Err(Failure(format!(
                    "nothing listens at AWS_ENDPOINT_URL_DYNAMODB={url}: start that database, or unset the variable to \
                     use the embedded one"
                )));
            }
            if let Some(file) = data {
                return Err(Failure(format!(
                    "--data {}: AWS_ENDPOINT_URL_DYNAMODB={url} names another database, which keeps no data in this \
                     file: unset the variable, or leave out --data",
                    file.display()
                )));
            }
            return Ok(Self::Other { url: url.clone() });
        }
        Self::embedded(listen, port, data, None).await
    }

    async fn embedded(listen: &str, port: u16, data: Option<&Path>, named_by: Option<String>) -> Result<Self, Failure> {
        let listener = bind(listen, port, "--dynamodb-port").await?;
        let database = match data {
            None => Embedded::in_memory_on(listener)?,
            Some(file) => {
                let DataFile { database, lock } = data_file::open(file)?;
                Embedded::serve(listener, database, lock)?
            }
        };
        Ok(Self::Embedded { database, named_by })
    }

    /// Connects to the database.
    ///
    /// # Errors
    /// Why the database cannot be reached.
    pub(crate) async fn connect(&self, table: String) -> Result<Connection, Failure> {
        match self {
            Self::Embedded { database, .. } => {
                Connection::to(&database.endpoint(), embedded::any_credentials(), table).await
            }
            Self::Other { .. } => Connection::open(table).await,
        }
    }
}

/// Whether the URL is the address of the embedded database.
fn is_own_address(listen: &str, own_port: u16, url: &str) -> bool {
    let Some((host, port)) = host_and_port(url) else { return false };
    let is_own_host = match (host.parse::<IpAddr>(), listen.parse::<IpAddr>()) {
        (Ok(host), Ok(every)) if every.is_unspecified() => host.is_loopback() && host.is_ipv4() == every.is_ipv4(),
        (Ok(host), Ok(address)) => host == address,
        (Ok(host), Err(_)) => is_loopback_name(listen) && host == Ipv4Addr::LOCALHOST,
        (Err(_), Ok(address)) => is_loopback_name(&host) && (address.is_loopback() || address.is_unspecified()),
        (Err(_), Err(_)) => host.eq_ignore_ascii_case(listen),
    };
    is_own_host && port == own_port && url.starts_with("http:")
}

/// Whether nothing listens at the URL.
async fn is_free(url: &str) -> bool {
    let Some((host, port)) = host_and_port(url) else { return false };
    TcpStream::connect((host.as_str(), port)).await.is_err()
}

/// The host (an IPv6 address without brackets) and the port.
fn host_and_port(url: &str) -> Option<(String, u16)> {
    let url: Uri = url.parse().ok()?;
    let default = if url.scheme_str() == Some("https") { 443 } else { 80 };
    Some((url.host()?.trim_matches(['[', ']']).to_owned(), url.port_u16().unwrap_or(default)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::listen::host;

    #[test]
    fn a_url_is_the_embedded_databases_if_host_and_port_match() {
        let is_own = |listen: &str, url: &str| is_own_address(&host(listen).unwrap(), 8000, url);
        for (listen, own, other) in [
            ("127.0.0.1", "http://127.0.0.1:8000", "http://[::1]:8000"),
            ("127.0.0.1", "http://localhost:8000/", "http://127.0.0.1:8001"),
            ("127.0.0.1", "http://LocalHost:8000", "https://localhost:8000"),
            ("0.0.0.0", "http://127.0.0.1:8000", "http://[::1]:8000"),
            ("::", "http://[::1]:8000", "http://database.example:8000"),
            ("::1", "http://[::1]:8000", "http://127.0.0.1:8000"),
            ("[::1]", "http://localhost:8000", "localhost:8000"),
            ("localhost", "http://127.0.0.1:8000", "http://localhost"),
            ("workstation", "http://workstation:8000", "http://127.0.0.1:8000"),
            ("192.0.2.1", "http://192.0.2.1:8000", "http://localhost:8000"),
        ] {
            assert!(is_own(listen, own), "{listen} {own}");
            assert!(!is_own(listen, other), "{listen} {other}");
        }
    }
}
