//! `cdm dev`: the real handler behind HTTP on this machine, on an embedded DynamoDB with demo data.

pub(crate) mod data_file;
mod database;
pub(crate) mod docs_page;
mod listen;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use cdm_lambda::handler::Handler;
use cdm_lambda::telemetry;
use clap::{Args, ValueEnum};
use testkit::gateway::{Gateway, LARGEST_BODY};
use testkit::{demo, embedded};

use crate::aws::environment::non_empty;
use crate::commands::table;
use crate::dev::database::Database;
use crate::ui::Failure;
use crate::ui::signals::Interrupts;

/// Run the real handler on this machine, behind HTTP, with demo data.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// The port of the API; 0 selects a free port.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// The port of the embedded DynamoDB, for the AWS CLI and other tools; 0 selects a free port.
    #[arg(long, default_value_t = 8000)]
    dynamodb_port: u16,
    /// The address or host name to listen on. Anything but loopback shows the demo data to your network.
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1", value_parser = listen::host)]
    listen: String,
    /// Keep the data in this file instead of in memory.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The type of gateway to emulate.
    #[arg(long, value_enum, default_value = "http")]
    gateway: GatewayType,
}

/// The type of gateway to emulate.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum GatewayType {
    /// HTTP API, payload 2.0, as the template deploys it.
    Http,
    /// REST API, payload 1.0.
    Rest,
}

impl From<GatewayType> for Gateway {
    fn from(gateway: GatewayType) -> Self {
        match gateway {
            GatewayType::Http => Self::Http,
            GatewayType::Rest => Self::Rest,
        }
    }
}

struct Server {
    function: Handler,
    gateway: Gateway,
}

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// A port or a file is not available, or the database cannot be reached.
pub(crate) async fn run(arguments: Dev) -> Result<(), Failure> {
    // Log errors only, because each request has its own line below.
    let _ = tracing::subscriber::set_global_default(telemetry::errors(io::stderr));
    telemetry::hide_panic_messages();

    let listener = listen::bind(&arguments.listen, arguments.port, "--port").await?;
    let table = non_empty("TABLE_NAME").unwrap_or_else(|| demo::TABLE.to_owned());
    let database = Database::find(&arguments.listen, arguments.dynamodb_port, arguments.data.as_deref()).await?;
    let connection = database.connect(table).await?;
    if table::create(&connection.client, &connection.table).await? {
        demo::seed(&connection.client, &connection.table).await?;
    }

    let address = listener.local_addr().map_err(|error| Failure(format!("the API has no address: {error}")))?;
    let mut interrupts = Interrupts::listen()?;
    announce(address, &database, &connection.table);
    let function = Handler::new(connection.store, Duration::from_secs(60));
    let server = Arc::new(Server { function, gateway: arguments.gateway.into() });
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

async fn serve(State(server): State<Arc<Server>>, request: Request) -> Response<Body> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let method = parts.method.clone();
    let (route, code, response) = if let Ok(body) = to_bytes(body, LARGEST_BODY).await {
        let answered = server.gateway.serve(&server.function, parts, &body).await;
        // The template instead of the path, which contains a phone number and a ccid.
        let route = answered.operation.map(|operation| operation.route.path);
        (route, answered.code.unwrap_or_else(|| "ok".to_owned()), answered.response.map(Body::from))
    } else {
        let mut response = Response::new(Body::from(r#"{"message":"Request Entity Too Large"}"#));
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        (None, "too_large".to_owned(), response)
    };
    let line = format!(
        "{method} {} {} {code} {:.1} ms",
        route.unwrap_or("(no route)"),
        response.status().as_u16(),
        started.elapsed().as_secs_f64() * 1000.0
    );
    // If the terminal is closed, the server must continue.
    let _ = writeln!(io::stdout(), "{line}");
    response
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
