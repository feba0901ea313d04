//! As much of HTTP/1.1 as two local peers need that both send lengths. By hand, because a test must be able to stop in
//! the middle of it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request or an answer, its head as it came.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The first line and the headers, to the empty line that ends them.
    pub(crate) head: String,
    /// As long as its length said.
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Reads one message; `None` where the peer has gone before its first byte.
    pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<Option<Self>> {
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
        assert_eq!(message.header("transfer-encoding"), None, "a message without a length");
        let length = message.header("content-length").map_or(Ok(0), str::parse);
        let length: usize = length.map_err(|_| io::ErrorKind::InvalidData)?;
        while body.len() < length {
            if stream.read_buf(&mut body).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        assert_eq!(body.len(), length, "nobody here sends a second message before the first is answered");
        Ok(Some(Self { body, ..message }))
    }

    /// Writes it as it is.
    pub(crate) async fn write(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(&self.to_bytes()).await
    }

    /// The bytes on the wire.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), &self.body].concat()
    }

    /// An answer with these headers, and its length.
    pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: Vec<u8>) -> Self {
        let mut head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        Self { head, body }
    }

    /// Method and path of a request.
    pub(crate) fn target(&self) -> (&str, &str) {
        let mut words = self.head.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    /// A header's value; names are compared without case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        Some(self.head.lines().skip(1).find(named)?.split_once(':')?.1.trim())
    }
}
