//! One HTTP/1.1 client connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::patience::PATIENCE;

/// A connection to the proxy.
#[derive(Debug)]
pub struct Wire {
    stream: BufReader<TcpStream>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    fields: Vec<(String, String)>,
    pub body: String,
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect(address).expect("the proxy listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit can be set");
        stream.set_nodelay(true).expect("delays can be switched off");
        Wire {
            stream: BufReader::new(stream),
        }
    }

    pub fn get(&mut self, path: &str) -> Reply {
        self.ask(path);
        let mut reply = self.head();
        reply.body = self.body(&reply).expect("a whole body");
        reply
    }

    /// The same with one more header field.
    pub fn get_with(&mut self, path: &str, field: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: shop\r\n{field}\r\n\r\n"));
        let mut reply = self.head();
        reply.body = self.body(&reply).expect("a whole body");
        reply
    }

    /// Sends a request without reading its answer.
    pub fn ask(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: shop\r\n\r\n"));
    }

    /// The head of an answer.
    pub fn head(&mut self) -> Reply {
        let start = self.text_line();
        let status = start.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut fields = Vec::new();
        loop {
            let line = self.text_line();
            match line.split_once(':') {
                Some((name, value)) => fields.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => break,
            }
        }
        Reply {
            status: status.unwrap_or_else(|| panic!("a status line, not {start:?}")),
            fields,
            body: String::new(),
        }
    }

    /// The body that follows `head`; none if the connection ends before it does.
    pub fn body(&mut self, head: &Reply) -> Option<String> {
        let mut body = String::new();
        if let Some(length) = head.field("content-length") {
            let mut bytes = vec![0; length.parse().expect("a length")];
            self.stream.read_exact(&mut bytes).ok()?;
            return String::from_utf8(bytes).ok();
        }
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                return Some(body);
            }
            body.push_str(&chunk);
        }
    }

    /// One chunk of a body of unknown length; empty at its end, none if the connection ends before.
    pub fn chunk(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).ok()?;
        bytes.truncate(length);
        String::from_utf8(bytes).ok()
    }

    /// Turns the connection into a tunnel that echoes, and says which release opened it.
    pub fn upgrade(&mut self) -> String {
        self.send("GET /echo HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
        let head = self.head();
        assert_eq!(head.status, 101, "{head:?}");
        head.field("x-release")
            .expect("the app says who it is")
            .to_owned()
    }

    /// Sends a line through the tunnel; whether it came back.
    pub fn echoes(&mut self, text: &str) -> bool {
        let line = format!("{text}\n");
        let mut back = String::new();
        let sent = self.stream.get_mut().write_all(line.as_bytes());
        sent.is_ok() && self.stream.read_line(&mut back).is_ok() && back == line
    }

    /// Waits for the other side to end the connection.
    pub fn is_cut(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    fn send(&mut self, text: &str) {
        let sent = self.stream.get_mut().write_all(text.as_bytes());
        sent.expect("the proxy takes what is sent");
    }

    fn text_line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).expect("a line of a head");
        assert!(read > 0, "the connection ended inside a head");
        line.trim_end().to_owned()
    }
}

impl Reply {
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|field| field.0 == name);
        found.map(|field| field.1.as_str())
    }
}
