//! The stand-in for DynamoDB: HTTPS with its own certificates. Behind it are either fixed responses, which take no time, or
//! the embedded database. It counts what passes.

mod certificates;
mod embedded;

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::Result;
use crate::http::Message;
pub use certificates::Certificates;
pub use embedded::embedded;
use embedded::{Connection, record};

/// What responds to the calls.
#[derive(Debug, Clone, Copy)]
pub enum Backend {
    /// Success at once: the API key is valid and the transaction commits.
    AtOnce,
    /// Refusal at once: the condition fails on a record with this many numbers.
    Full(usize),
    /// The embedded database at this address.
    Embedded(SocketAddr),
}

/// Counts of what has passed so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub connections: u64,
    /// `GetItem` calls.
    pub reads: u64,
    /// `TransactWriteItems` calls.
    pub transactions: u64,
    /// Bytes of the HTTP requests.
    pub bytes_in: u64,
    /// Bytes of the HTTP responses.
    pub bytes_out: u64,
    /// The sum of the times from a request's last byte to the moment before its response is encrypted and sent.
    pub busy: Duration,
    /// Write units, if the backend reports them.
    pub write_units: f64,
}

/// A running stand-in. Clones refer to the same one.
#[derive(Clone)]
pub struct Database {
    pub address: SocketAddr,
    counts: Arc<Mutex<Counts>>,
}

impl Database {
    pub fn start(certificates: &Certificates, backend: Backend) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Mutex::new(Counts::default()));
        let tls = certificates.server()?;
        let shared = Arc::clone(&counts);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (tls, counts) = (Arc::clone(&tls), Arc::clone(&shared));
                // An error means that the harness stopped the client.
                std::thread::spawn(move || drop(serve(connection, tls, backend, &counts)));
            }
        });
        Ok(Self { address, counts })
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(connection: TcpStream, tls: Arc<ServerConfig>, backend: Backend, counts: &Mutex<Counts>) -> Result<()> {
    connection.set_nodelay(true)?;
    counts.lock().unwrap_or_else(PoisonError::into_inner).connections += 1;
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(tls)?, connection));
    let mut embedded = match backend {
        Backend::Embedded(address) => Some(Connection::open(address)?),
        _ => None,
    };
    while let Some(request) = Message::read(&mut stream)? {
        let received = Instant::now();
        let operation = request.header("x-amz-target").and_then(|target| target.rsplit('.').next()).unwrap_or("");
        let mut passed = Counts { bytes_in: request.bytes as u64, ..Counts::default() };
        match operation {
            "GetItem" => passed.reads = 1,
            "TransactWriteItems" => passed.transactions = 1,
            _ => {}
        }
        let (status, body) = match (&mut embedded, operation) {
            (_, "") => ("200 OK", b"healthy: dynamodb.us-east-1.amazonaws.com ".to_vec()),
            (Some(embedded), _) => {
                let (status, body) = embedded.forward(&request)?;
                if passed.reads == 0 {
                    passed.write_units = units(&body);
                }
                (if status == 200 { "200 OK" } else { "400 Bad Request" }, body)
            }
            (None, "GetItem") => ("200 OK", br#"{"Item":{"client_id":{"S":"demo-clinic"}}}"#.to_vec()),
            (None, _) => match backend {
                Backend::Full(numbers) => ("400 Bad Request", refusal(numbers).into_bytes()),
                _ => ("200 OK", b"{}".to_vec()),
            },
        };
        // The headers that DynamoDB itself sends.
        let mut response = format!(
            "HTTP/1.1 {status}\r\nserver: Server\r\ndate: Wed, 12 Nov 2025 02:38:06 GMT\r\n\
             content-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\nconnection: keep-alive\r\n\
             x-amzn-requestid: VH3I9H2CEH0NM5GB1L8VV1JP6FVV4KQNSO5AEMVJF66Q9ASUAAJG\r\nx-amz-crc32: {}\r\n\r\n",
            body.len(),
            crc32(&body)
        )
        .into_bytes();
        response.extend_from_slice(&body);
        passed.bytes_out = response.len() as u64;
        // Count before sending: the count must be complete when the client has the response.
        passed.busy = received.elapsed();
        add(&mut counts.lock().unwrap_or_else(PoisonError::into_inner), &passed);
        stream.get_mut().write_all(&response)?;
    }
    Ok(())
}

fn add(counts: &mut Counts, passed: &Counts) {
    counts.reads += passed.reads;
    counts.transactions += passed.transactions;
    counts.bytes_in += passed.bytes_in;
    counts.bytes_out += passed.bytes_out;
    counts.busy += passed.busy;
    counts.write_units += passed.write_units;
}

fn units(response: &[u8]) -> f64 {
    let response: Value = serde_json::from_slice(response).unwrap_or_default();
    match &response["ConsumedCapacity"] {
        Value::Array(tables) => tables.iter().filter_map(|table| table["CapacityUnits"].as_f64()).sum(),
        table => table["CapacityUnits"].as_f64().unwrap_or_default(),
    }
}

/// A transaction that is cancelled because a record with `numbers` numbers failed its condition.
fn refusal(numbers: usize) -> String {
    json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons \
                    [ConditionalCheckFailed, None]",
        "CancellationReasons": [
            { "Code": "ConditionalCheckFailed", "Message": "The conditional request failed", "Item": record("FULL", numbers) },
            { "Code": "None" },
        ],
    })
    .to_string()
}

/// The checksum of a response. Some SDKs check it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))))
}
