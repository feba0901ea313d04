//! What stands in for DynamoDB: HTTPS with certificates of its own, and behind it either answers that take no time at
//! all, or an embedded database. Both count what passes.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::Result;
use crate::certificates::Certificates;
use crate::http::Message;

/// What answers.
#[derive(Debug, Clone, Copy)]
pub enum Backend {
    /// Success, at once: the API key is good, the transaction passes.
    AtOnce,
    /// A record of so many numbers, at once: the transaction is refused, with the record as it stands.
    Full(usize),
    /// The embedded database at this address.
    Embedded(SocketAddr),
}

/// What has passed so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub connections: u64,
    /// Calls of each kind.
    pub reads: u64,
    pub transactions: u64,
    /// Bytes of all calls, and of their answers, as HTTP.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// From a request's last byte read to its answer's last byte written, summed up.
    pub busy: Duration,
    /// Capacity units, where the backend tells them.
    pub read_units: f64,
    pub write_units: f64,
}

/// A running stand-in. Clones share it.
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
                // A client that goes away in the middle is one that was stopped.
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
    let mut behind = match backend {
        Backend::Embedded(address) => Some(Behind::connect(address)?),
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
        let (status, body) = match (&mut behind, operation) {
            (_, "") => ("200 OK", b"healthy: dynamodb.us-east-1.amazonaws.com ".to_vec()),
            (Some(behind), _) => {
                let (status, body) = behind.forward(&request)?;
                let units = units(&body);
                *(if passed.reads == 1 { &mut passed.read_units } else { &mut passed.write_units }) = units;
                (if status == 200 { "200 OK" } else { "400 Bad Request" }, body)
            }
            (None, "GetItem") => ("200 OK", br#"{"Item":{"client_id":{"S":"demo-clinic"}}}"#.to_vec()),
            (None, _) => match backend {
                Backend::Full(numbers) => ("400 Bad Request", refusal(numbers).into_bytes()),
                _ => ("200 OK", b"{}".to_vec()),
            },
        };
        // The headers that DynamoDB itself sends.
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nserver: Server\r\ndate: Wed, 12 Nov 2025 02:38:06 GMT\r\n\
             content-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\nconnection: keep-alive\r\n\
             x-amzn-requestid: VH3I9H2CEH0NM5GB1L8VV1JP6FVV4KQNSO5AEMVJF66Q9ASUAAJG\r\nx-amz-crc32: {}\r\n\r\n",
            body.len(),
            crc32(&body)
        )
        .into_bytes();
        answer.extend_from_slice(&body);
        passed.bytes_out = answer.len() as u64;
        // Counted before it is sent: by the time that the other side has it, the count must be there.
        passed.busy = received.elapsed();
        add(&mut counts.lock().unwrap_or_else(PoisonError::into_inner), &passed);
        stream.get_mut().write_all(&answer)?;
    }
    Ok(())
}

fn add(counts: &mut Counts, passed: &Counts) {
    counts.reads += passed.reads;
    counts.transactions += passed.transactions;
    counts.bytes_in += passed.bytes_in;
    counts.bytes_out += passed.bytes_out;
    counts.busy += passed.busy;
    counts.read_units += passed.read_units;
    counts.write_units += passed.write_units;
}

/// A connection to the embedded database.
pub struct Behind {
    reader: BufReader<TcpStream>,
}

impl Behind {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let connection = TcpStream::connect(address)?;
        connection.set_nodelay(true)?;
        Ok(Self { reader: BufReader::new(connection) })
    }

    /// The same call, which is asked in addition to tell its capacity units.
    fn forward(&mut self, request: &Message) -> Result<(u16, Vec<u8>)> {
        let asked = br#"{"ReturnConsumedCapacity":"TOTAL","#;
        let body = [asked.as_slice(), request.body.get(1..).unwrap_or_default()].concat();
        self.call(request.header("x-amz-target").unwrap_or_default(), &body)
    }

    pub fn call(&mut self, target: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-amz-json-1.0\r\nx-amz-target: {target}\r\nx-amz-date: 20251112T023806Z\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=bench/20251112/us-east-1/dynamodb/aws4_request, \
             SignedHeaders=host, Signature=0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.reader.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let answer = Message::read(&mut self.reader)?.ok_or("the embedded database hung up")?;
        let status = answer.first_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or("the embedded database speaks no HTTP")?, answer.body))
    }
}

fn units(answer: &[u8]) -> f64 {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    match &answer["ConsumedCapacity"] {
        Value::Array(tables) => tables.iter().filter_map(|table| table["CapacityUnits"].as_f64()).sum(),
        table => table["CapacityUnits"].as_f64().unwrap_or_default(),
    }
}

/// A cancelled transaction whose first item was a record of `numbers` numbers.
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

/// A customer's record with so many typical numbers, as the table has it.
fn record(ccid: &str, numbers: usize) -> Value {
    let channel = |number: usize| {
        let channel = json!({"M": {"t": {"N": "1732003200000"}, "p": {"S": "mobile"}, "c": {"S": "written"}}});
        (format!("+1610555{number:04}"), channel)
    };
    json!({
        "pk": {"S": format!("CLIENT#demo-clinic#CUSTOMER#{ccid}")},
        "sk": {"S": "CUSTOMER"},
        "phone_count": {"N": numbers.to_string()},
        "created_at": {"N": "1732003200000"},
        "notification_channels": {"M": serde_json::Map::from_iter((1..=numbers).map(channel))},
    })
}

/// An embedded database with the table, one API key, and these customers, each with so many numbers. It lives in memory
/// until the process ends.
pub fn embedded(runtime: &tokio::runtime::Runtime, customers: &[(String, usize)]) -> Result<SocketAddr> {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let database = dynoxide::Database::memory().map_err(|error| error.to_string())?;
    runtime.spawn(dynoxide::server::serve_with_shutdown(listener, database, std::future::pending()));

    let mut database = Behind::connect(address)?;
    let mut call = |operation: &str, body: Value| -> Result<()> {
        let target = format!("DynamoDB_20120810.{operation}");
        let (status, answer) = database.call(&target, body.to_string().as_bytes())?;
        if status == 200 { Ok(()) } else { Err(String::from_utf8_lossy(&answer).into()) }
    };
    call(
        "CreateTable",
        json!({
            "TableName": crate::TABLE,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                {"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"},
            ],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        }),
    )?;
    let key = json!({
        "pk": {"S": format!("KEY#{}", crate::events::API_KEY_SHA256)},
        "sk": {"S": "KEY"},
        "client_id": {"S": "demo-clinic"},
        "label": {"S": "bench"},
        "created_at": {"N": "1732003200000"},
    });
    call("PutItem", json!({"TableName": crate::TABLE, "Item": key}))?;
    for (ccid, numbers) in customers {
        call("PutItem", json!({"TableName": crate::TABLE, "Item": record(ccid, *numbers)}))?;
    }
    Ok(address)
}

/// Some SDKs check it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))))
}
