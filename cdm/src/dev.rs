//! `cdm dev`: the real handler behind HTTP on this machine, on an embedded DynamoDB with demo data.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use cdm_lambda::config::Endpoint;
use cdm_lambda::dynamodb::{DynamoDb, environment_credentials};
use cdm_lambda::function::Function;
use cdm_lambda::log;
use cdm_lambda::route::Operation;
use cdm_lambda::store::Store;
use clap::Args;
use tokio::net::TcpListener;
use tracing::level_filters::LevelFilter;

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
    /// Address that both listen on. Anything but loopback shows the demo data to your network.
    #[arg(long, default_value = "127.0.0.1")]
    listen: IpAddr,
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
    let _ = tracing::subscriber::set_global_default(log::subscriber(LevelFilter::ERROR, std::io::stderr));
    log::quiet_panics();

    let listener = bind(arguments.listen, arguments.port, "--port").await?;
    let configured = std::env::var("AWS_ENDPOINT_URL_DYNAMODB").is_ok_and(|url| !url.is_empty());
    let (database, endpoint, credentials) = if configured {
        let endpoint = Endpoint::read(|name| std::env::var(name).ok()).map_err(|error| Failure(error.to_string()))?;
        (None, endpoint, environment_credentials())
    } else {
        let port = bind(arguments.listen, arguments.dynamodb_port, "--dynamodb-port").await?;
        let database = Embedded::start(port, arguments.data.as_deref())?;
        let endpoint = database.endpoint();
        (Some(database), endpoint, embedded::any_credentials())
    };
    let dynamodb = DynamoDb::new(&endpoint, credentials).await.map_err(|error| Failure(error.to_string()))?;
    let table = std::env::var("TABLE_NAME").unwrap_or_else(|_| demo::TABLE.to_owned());
    if table::create(&dynamodb.client, &table).await? {
        demo::seed(&dynamodb.client, &table).await?;
    }

    let address = listener.local_addr().map_err(|error| Failure(format!("the API has no address: {error}")))?;
    let mut interrupts = Interrupts::listen()?;
    announce(address, database.as_ref(), &endpoint, &table);
    let function = Function::new(Store::new(dynamodb.client, table), Duration::from_secs(60));
    let server = Arc::new(Server { function, gateway: arguments.gateway });
    let router = Router::new().fallback(serve).with_state(server).merge(docs_page::routes());
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { interrupts.next().await })
        .await
        .map_err(|error| Failure(format!("the API failed: {error}")))?;
    if let Some(database) = database {
        database.stop().await?;
    }
    println!("stopped");
    Ok(())
}

async fn bind(address: IpAddr, port: u16, option: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind((address, port)).await.map_err(|error| {
        Failure(format!(
            "{} cannot be listened on ({error}): choose another port with {option}",
            SocketAddr::new(address, port)
        ))
    })
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
    let _ = writeln!(std::io::stdout(), "{line}");
    answered.response.map(Body::from)
}

fn announce(address: SocketAddr, database: Option<&Embedded>, endpoint: &Endpoint, table: &str) {
    let host =
        if address.ip().is_unspecified() { format!("127.0.0.1:{}", address.port()) } else { address.to_string() };
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
        Some(database) => println!("DynamoDB  http://{} (table {table}, embedded)", database.address()),
        None => println!("DynamoDB  {} (table {table})", endpoint.url.as_deref().unwrap_or_default()),
    }
    println!("\nAdd a phone number to a customer (200, then 409 when repeated):\n");
    println!("{}\n", curl(demo::CUSTOMER, "6105551212", demo::KEY));
    println!("A record that has 50 numbers already (409):\n");
    println!("{}\n", curl(demo::CUSTOMER_WITH_50, "6105551212", demo::KEY));
    println!("A key that has expired (401):\n");
    println!("{}\n", curl(demo::CUSTOMER, "6105551212", demo::EXPIRED_KEY));
    println!("Ctrl-C stops it.");
}
