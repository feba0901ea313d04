//! `cdm dev`: the real handler behind HTTP on this machine, on an embedded DynamoDB with demo data.

use std::io::{self, ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, Uri};
use cdm_lambda::function::Function;
use cdm_lambda::log;
use cdm_lambda::route::Operation;
use clap::Args;
use tokio::net::{TcpListener, TcpStream};
use tracing::level_filters::LevelFilter;

use crate::connection::{Connection, is_loopback_name, is_this_machine, set};
use crate::embedded::{self, Embedded};
use crate::gateway::{Gateway, LARGEST_BODY};
use crate::interrupts::Interrupts;
use crate::{Failure, demo, docs_page, table};

/// Run the real handler on this machine, with demo data, behind HTTP.
#[derive(Debug, Args)]
pub struct Dev {
    /// Port of the API; 0 takes a free one.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Port of the embedded DynamoDB, for the AWS CLI and others; 0 takes a free one.
    #[arg(long, default_value_t = 8000)]
    dynamodb_port: u16,
    /// Address or host name that both listen on. Anything but loopback shows the demo data to your network.
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1", value_parser = host)]
    listen: String,
    /// Keep the data in this file instead of in memory.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Which of AWS's gateways to be.
    #[arg(long, value_enum, default_value = "http")]
    gateway: Gateway,
}

struct Server {
    function: Function,
    gateway: Gateway,
}

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// A port or file that cannot be had, or a database that cannot be reached.
pub async fn run(arguments: Dev) -> Result<(), Failure> {
    // Only what is wrong with this machine or its data: each request has a line of its own below.
    let _ = tracing::subscriber::set_global_default(log::subscriber(LevelFilter::ERROR, io::stderr));
    log::quiet_panics();

    let listener = bind(&arguments.listen, arguments.port, "--port").await?;
    let table = set("TABLE_NAME").unwrap_or_else(|| demo::TABLE.to_owned());
    let database = Database::find(&arguments).await?;
    let connection = database.connect(table).await?;
    if table::create(&connection.client, &connection.table).await? {
        demo::seed(&connection.client, &connection.table).await?;
    }

    let address = listener.local_addr().map_err(|error| Failure(format!("the API has no address: {error}")))?;
    let mut interrupts = Interrupts::listen()?;
    announce(address, &database, &connection.table);
    let function = Function::new(connection.store, Duration::from_secs(60));
    let server = Arc::new(Server { function, gateway: arguments.gateway });
    let router = Router::new().fallback(serve).with_state(server).merge(docs_page::routes());
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { interrupts.next().await })
        .await
        .map_err(|error| Failure(format!("the API failed: {error}")))?;
    if let Database::Embedded { database, .. } = database {
        database.stop().await?;
    }
    println!("stopped");
    Ok(())
}

/// The database that the handler works on.
enum Database {
    Embedded {
        database: Embedded,
        /// The value of `AWS_ENDPOINT_URL_DYNAMODB`, where the embedded database runs at that very address.
        named_by: Option<String>,
    },
    /// The one that `AWS_ENDPOINT_URL_DYNAMODB` names.
    Other { url: String },
}

impl Database {
    /// The database that `AWS_ENDPOINT_URL_DYNAMODB` names, or the embedded one: without that variable, and where it
    /// names the address that the embedded database would have and nothing listens there. So the shell that the
    /// variable is exported in for the other commands can start the dev server as well.
    async fn find(arguments: &Dev) -> Result<Self, Failure> {
        let url = set("AWS_ENDPOINT_URL_DYNAMODB");
        if let Some(url) = &url {
            let is_own = arguments.is_own_address(url);
            let is_free = (is_own || is_this_machine(url)) && is_free(url).await;
            if is_free && is_own {
                return Self::embedded(arguments, Some(url.clone())).await;
            }
            if is_free {
                return Err(Failure(format!(
                    "nothing listens at AWS_ENDPOINT_URL_DYNAMODB={url}: start that database, or unset the variable to \
                     use the embedded one"
                )));
            }
            if let Some(file) = &arguments.data {
                return Err(Failure(format!(
                    "--data {}: AWS_ENDPOINT_URL_DYNAMODB={url} names another database, which keeps no data in this \
                     file: unset the variable, or leave out --data",
                    file.display()
                )));
            }
            return Ok(Self::Other { url: url.clone() });
        }
        Self::embedded(arguments, None).await
    }

    async fn embedded(arguments: &Dev, named_by: Option<String>) -> Result<Self, Failure> {
        let port = bind(&arguments.listen, arguments.dynamodb_port, "--dynamodb-port").await?;
        Ok(Self::Embedded { database: Embedded::start(port, arguments.data.as_deref())?, named_by })
    }

    async fn connect(&self, table: String) -> Result<Connection, Failure> {
        match self {
            Self::Embedded { database, .. } => {
                Connection::to(&database.endpoint(), embedded::any_credentials(), table).await
            }
            Self::Other { .. } => Connection::open(table).await,
        }
    }
}

impl Dev {
    /// Whether the URL leads to where the embedded database listens.
    fn is_own_address(&self, url: &str) -> bool {
        let Some((host, port)) = host_and_port(url) else { return false };
        let is_own_host = match (host.parse::<IpAddr>(), self.listen.parse::<IpAddr>()) {
            (Ok(host), Ok(every)) if every.is_unspecified() => host.is_loopback() && host.is_ipv4() == every.is_ipv4(),
            (Ok(host), Ok(listen)) => host == listen,
            (Ok(host), Err(_)) => is_loopback_name(&self.listen) && host == Ipv4Addr::LOCALHOST,
            (Err(_), Ok(listen)) => is_loopback_name(&host) && (listen.is_loopback() || listen.is_unspecified()),
            (Err(_), Err(_)) => host.eq_ignore_ascii_case(&self.listen),
        };
        is_own_host && port == self.dynamodb_port && url.starts_with("http:")
    }
}

/// Whether nothing listens at the URL.
async fn is_free(url: &str) -> bool {
    let Some((host, port)) = host_and_port(url) else { return false };
    TcpStream::connect((host.as_str(), port)).await.is_err()
}

/// Host, an IPv6 address without its brackets, and port.
fn host_and_port(url: &str) -> Option<(String, u16)> {
    let url: Uri = url.parse().ok()?;
    let default = if url.scheme_str() == Some("https") { 443 } else { 80 };
    Some((url.host()?.trim_matches(['[', ']']).to_owned(), url.port_u16().unwrap_or(default)))
}

/// Reads `--listen`: an address or a host name. The brackets of an IPv6 address in a URL are accepted.
fn host(text: &str) -> Result<String, &'static str> {
    let host = text.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(text);
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if host.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.bytes().all(named)) {
        Ok(host.to_owned())
    } else {
        Err("must be an address or a host name without a port, such as 127.0.0.1, ::1 or localhost")
    }
}

async fn bind(host: &str, port: u16, option: &str) -> Result<TcpListener, Failure> {
    let shown = host.parse().map_or_else(|_| format!("{host}:{port}"), |ip| SocketAddr::new(ip, port).to_string());
    let bound = async { first_of(tokio::net::lookup_host((host, port)).await?.collect()).await };
    bound.await.map_err(|error: io::Error| {
        Failure(match error.kind() {
            ErrorKind::AddrInUse => {
                format!("another program listens on {shown}: stop it, or choose another port with {option}")
            }
            ErrorKind::PermissionDenied => {
                format!("you may not listen on {shown}: choose a port above 1023 with {option}")
            }
            ErrorKind::AddrNotAvailable => {
                format!("this machine does not have the address of {shown}: choose another with --listen")
            }
            _ => format!("{shown} cannot be listened on ({error}): choose other values for --listen and {option}"),
        })
    })
}

/// Listens on the first of a host's addresses that this machine has, IPv4 before IPv6: clients of `localhost` try both,
/// and clients of 127.0.0.1 that one alone. An address that is in use is an error, whatever follows it.
async fn first_of(mut addresses: Vec<SocketAddr>) -> io::Result<TcpListener> {
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let mut none = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => none = error,
            ended => return ended,
        }
    }
    Err(none)
}

async fn serve(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let method = parts.method.clone();
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        let mut response = Response::new(Body::from(r#"{"message":"Request Entity Too Large"}"#));
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return response;
    };
    let answered = server.gateway.serve(&server.function, parts, body).await;
    // The template, never the path: it holds a phone number and a ccid.
    let route = answered.operation.map_or_else(|| "(no route)".to_owned(), Operation::template);
    let code = answered.code.as_deref().unwrap_or("ok");
    let line = format!(
        "{method} {route} {} {code} {:.1} ms",
        answered.response.status().as_u16(),
        started.elapsed().as_secs_f64() * 1000.0
    );
    // A closed terminal must not stop the server.
    let _ = writeln!(io::stdout(), "{line}");
    answered.response.map(Body::from)
}

fn announce(address: SocketAddr, database: &Database, table: &str) {
    let host = embedded::from_this_machine(address);
    let url = |ccid: &str, number: &str| {
        format!("http://{host}/cdm/client/{}/customer/{ccid}/add_phone/{number}", demo::CLIENT)
    };
    let curl = |ccid: &str, number: &str, key: &str| {
        format!(
            "  curl -X PUT '{}' \\\n    -H 'x-relay-api-key: {key}' -H 'content-type: application/json' \\\n    -d '{{\"consent_type\":\"written\",\"phone_type\":\"mobile\"}}'",
            url(ccid, number)
        )
    };
    println!("API       http://{host}");
    println!("Docs      http://{host}{}", docs_page::PATH);
    match database {
        Database::Embedded { database, named_by } => {
            let address = embedded::from_this_machine(database.address());
            println!("DynamoDB  http://{address} (table {table}, embedded)");
            if let Some(url) = named_by {
                println!(
                    "          AWS_ENDPOINT_URL_DYNAMODB={url} names this address, and nothing else listened there."
                );
            }
        }
        Database::Other { url } => println!("DynamoDB  {url} (table {table}, named by AWS_ENDPOINT_URL_DYNAMODB)"),
    }
    println!("\nAdd a phone number to a customer (200, then 409 when repeated):\n");
    println!("{}\n", curl(demo::CUSTOMER, "6105551212", demo::KEY));
    println!("A record that has 50 numbers already (409):\n");
    println!("{}\n", curl(demo::CUSTOMER_WITH_50, "6105551212", demo::KEY));
    println!("A key that has expired (401):\n");
    println!("{}\n", curl(demo::CUSTOMER, "6105551212", demo::EXPIRED_KEY));
    println!("Ctrl-C stops it.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_is_listened_on_at_its_first_address_that_is_there() {
        let (v4, v6) = (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), "[::1]:0".parse().unwrap());
        // Reserved for documentation: no machine has it.
        let absent = "192.0.2.1:0".parse().unwrap();
        assert!(first_of(vec![v6, v4]).await.unwrap().local_addr().unwrap().is_ipv4());
        assert!(first_of(vec![absent, v4]).await.unwrap().local_addr().unwrap().ip().is_loopback());
        assert_eq!(first_of(vec![absent]).await.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
        let taken = TcpListener::bind(v4).await.unwrap();
        let addresses = vec![taken.local_addr().unwrap(), v4];
        assert_eq!(first_of(addresses).await.unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn a_url_is_its_own_where_host_and_port_lead_to_it() {
        let is_own = |listen: &str, url: &str| {
            let dev = Dev {
                port: 3000,
                dynamodb_port: 8000,
                listen: host(listen).unwrap(),
                data: None,
                gateway: Gateway::Http,
            };
            dev.is_own_address(url)
        };
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

    #[test]
    fn a_host_has_no_port_and_no_scheme() {
        for good in ["127.0.0.1", "::1", "[::1]", "localhost", "my-machine.example"] {
            assert!(host(good).is_ok(), "{good}");
        }
        for bad in ["", "localhost:3000", "http://localhost", "[::1]:3000", "a b"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
