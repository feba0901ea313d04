//! HTTP/1.1 messages, read with blocking I/O: an async runtime's scheduling would be part of the measured times.

use std::io::BufRead;

/// A request or a response. Header names are in lower case.
pub struct Message {
    pub first_line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The size of the whole message.
    pub bytes: usize,
}

impl Message {
    /// `None` if the peer has closed the connection.
    pub fn read(from: &mut impl BufRead) -> std::io::Result<Option<Self>> {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut bytes = line.len();
        let first_line = line.trim_end().to_owned();
        let mut headers = Vec::new();
        loop {
            line.clear();
            if from.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            bytes += line.len();
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut message = Self { first_line, headers, body: Vec::new(), bytes };
        if message.header("transfer-encoding").is_some() {
            return Err(std::io::Error::other("this server does not read chunked messages"));
        }
        if let Some(length) = message.header("content-length") {
            message.body.resize(length.parse().map_err(std::io::Error::other)?, 0);
            from.read_exact(&mut message.body)?;
        }
        message.bytes += message.body.len();
        Ok(Some(message))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}
