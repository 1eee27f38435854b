//! A client of the control socket that speaks plain lines.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::patience::PATIENCE;

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// The final line of one request.
#[derive(Debug)]
#[must_use = "say whether it succeeds or fails"]
pub struct Answer(Value);

impl Client {
    pub fn connect(socket: &Path) -> Client {
        let stream = UnixStream::connect(socket).expect("the daemon listens");
        stream
            .set_read_timeout(Some(PATIENCE * 2))
            .expect("a time limit can be set");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a time limit can be set");
        Client {
            stream: BufReader::new(stream),
        }
    }

    /// Sends one request.
    pub fn send(&mut self, request: Value) -> &mut Client {
        self.send_bytes(format!("{request}\n"))
    }

    pub fn send_bytes(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        let sent = self.stream.get_mut().write_all(bytes.as_ref());
        sent.expect("the daemon takes what is sent");
        self
    }

    /// Sends nothing more, but goes on reading.
    pub fn half_close(&mut self) -> &mut Client {
        let closed = self.stream.get_ref().shutdown(Shutdown::Write);
        closed.expect("the connection is open");
        self
    }

    /// The next line; none at the end of the connection.
    pub fn next_line(&mut self) -> Option<Value> {
        let mut line = String::new();
        // A connection closed with bytes unread is reset: an end all the same.
        let read = self.stream.read_line(&mut line).unwrap_or(0);
        (read > 0)
            .then(|| serde_json::from_str(&line).unwrap_or_else(|_| panic!("a line of JSON, not {line:?}")))
    }

    pub fn line(&mut self) -> Value {
        self.next_line()
            .expect("one more line before the end of the connection")
    }

    /// The final line of a request.
    pub fn answer(&mut self) -> Answer {
        self.answer_with_progress().0
    }

    /// The final line of a request, and those before it.
    pub fn answer_with_progress(&mut self) -> (Answer, Vec<Value>) {
        let mut before = Vec::new();
        loop {
            let line = self.line();
            match line["status"].as_str() {
                Some("success" | "error") => return (Answer(line), before),
                _ => before.push(line),
            }
        }
    }

    /// Sends one request and waits for its answer.
    pub fn ask(&mut self, request: Value) -> Answer {
        self.send(request).answer()
    }
}

impl Answer {
    pub fn succeeds(self) -> Value {
        assert_eq!(self.0["status"], "success", "{:#}", self.0);
        self.0
    }

    /// The error line, which must have this code.
    pub fn fails_with(self, code: &str) -> Value {
        assert_eq!(self.0["status"], "error", "{:#}", self.0);
        assert_eq!(self.0["code"], code, "{:#}", self.0);
        self.0
    }
}
