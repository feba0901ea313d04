//! The embedded database behind the stand-in.
//!
//! It repeats the table's keys and items as JSON. `testkit` and the function's library have them too, but they depend on
//! the AWS SDK, which would add minutes to the build of the harness and so to `scripts/budgets`.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use crate::http::Message;
use crate::{Result, TABLE, events};

/// Starts an embedded database with the table, one API key, and these customers, each with a number of phone numbers. It
/// stays in memory until the process ends.
pub fn embedded(runtime: &tokio::runtime::Runtime, customers: &[(String, usize)]) -> Result<SocketAddr> {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let database = dynoxide::Database::memory().map_err(|error| error.to_string())?;
    runtime.spawn(dynoxide::server::serve_with_shutdown(listener, database, std::future::pending()));

    let mut connection = Connection::open(address)?;
    let mut call = |operation: &str, body: Value| -> Result<()> {
        let target = format!("DynamoDB_20120810.{operation}");
        let (status, response) = connection.call(&target, body.to_string().as_bytes())?;
        if status == 200 { Ok(()) } else { Err(String::from_utf8_lossy(&response).into()) }
    };
    call(
        "CreateTable",
        json!({
            "TableName": TABLE,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                {"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"},
            ],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        }),
    )?;
    let key = json!({
        "pk": {"S": format!("KEY#{}", events::API_KEY_SHA256)},
        "sk": {"S": "KEY"},
        "client_id": {"S": "demo-clinic"},
        "label": {"S": "bench"},
        "created_at": {"N": "1732003200000"},
    });
    call("PutItem", json!({"TableName": TABLE, "Item": key}))?;
    for (ccid, numbers) in customers {
        call("PutItem", json!({"TableName": TABLE, "Item": record(ccid, *numbers)}))?;
    }
    Ok(address)
}

/// A connection to the embedded database.
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Self> {
        let connection = TcpStream::connect(address)?;
        connection.set_nodelay(true)?;
        Ok(Self { reader: BufReader::new(connection) })
    }

    /// Forwards a call, with a member added that asks for the capacity units.
    pub fn forward(&mut self, request: &Message) -> Result<(u16, Vec<u8>)> {
        let asks = br#"{"ReturnConsumedCapacity":"TOTAL","#;
        let body = [asks.as_slice(), request.body.get(1..).unwrap_or_default()].concat();
        self.call(request.header("x-amz-target").unwrap_or_default(), &body)
    }

    fn call(&mut self, target: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-amz-json-1.0\r\nx-amz-target: {target}\r\nx-amz-date: 20251112T023806Z\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=bench/20251112/us-east-1/dynamodb/aws4_request, \
             SignedHeaders=host, Signature=0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.reader.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let response = Message::read(&mut self.reader)?.ok_or("the embedded database closed the connection")?;
        let status = response.first_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or("the embedded database did not respond with HTTP")?, response.body))
    }
}

/// The item of a customer's record with `numbers` typical numbers.
pub fn record(ccid: &str, numbers: usize) -> Value {
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
