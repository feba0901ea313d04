//! HTTP/1.1 between two local peers that always send a length. A test can stop in the middle of a message, which an HTTP
//! library does not allow.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request or a response.
#[derive(Debug, Clone)]
pub struct Message {
    /// The first line and the headers, with the empty line that ends them, as received.
    pub head: String,
    /// The body, of the length that its header states.
    pub body: Vec<u8>,
}

impl Message {
    /// Reads one message. `None` if the peer closes the connection before the first byte.
    ///
    /// # Errors
    /// The connection ends in the middle of a message, or the message is not HTTP.
    ///
    /// # Panics
    /// The message has a `transfer-encoding`, or another message follows it before the response.
    pub async fn read(stream: &mut TcpStream) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return if bytes.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        };
        let mut body = bytes.split_off(end);
        let head = String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData)?;
        let message = Self { head, body: Vec::new() };
        assert_eq!(message.header("transfer-encoding"), None, "only messages with a content-length are supported");
        let length = message.header("content-length").map_or(Ok(0), str::parse);
        let length: usize = length.map_err(|_| io::ErrorKind::InvalidData)?;
        while body.len() < length {
            if stream.read_buf(&mut body).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        assert_eq!(body.len(), length, "a second message must not follow before the response to the first");
        Ok(Some(Self { body, ..message }))
    }

    /// Writes the message.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn write(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(&self.to_bytes()).await
    }

    /// The bytes to send.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), &self.body].concat()
    }

    /// A response with these headers and a length.
    pub fn response(status: u16, headers: &[(&str, &str)], body: Vec<u8>) -> Self {
        let mut head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        Self { head, body }
    }

    /// The method and the path of a request.
    pub fn target(&self) -> (&str, &str) {
        let mut words = self.head.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    /// The value of a header. Names are case-insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        Some(self.head.lines().skip(1).find(named)?.split_once(':')?.1.trim())
    }
}
