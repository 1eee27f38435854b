//! One connection seen from either end, and what can be read from it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::patience::within;

/// One connection.
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// A message head. Names are in small letters, order and repetitions are as they came.
#[derive(Debug)]
pub struct Head {
    pub start: String,
    pub fields: Vec<(String, String)>,
}

/// A body without its framing.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    pub content: String,
    pub trailers: Vec<(String, String)>,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    Reset,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).unwrap();
        Wire {
            stream,
            unread: Vec::new(),
        }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn into_stream(self) -> TcpStream {
        assert!(self.unread.is_empty(), "bytes would be lost");
        self.stream
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Sends to a peer that may have gone.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within(self.stream.write_all(bytes.as_ref())).await;
    }

    /// Sends a FIN and keeps reading.
    pub async fn half_close(&mut self) {
        within(self.stream.shutdown()).await.unwrap();
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Reads up to and including `mark`.
    pub async fn until(&mut self, mark: &str) -> String {
        let found = within(self.until_or_end(mark)).await;
        found.unwrap_or_else(|| {
            let so_far = String::from_utf8_lossy(&self.unread);
            panic!("the end instead of {mark:?}, after {so_far:?}")
        })
    }

    /// Reads up to and including `mark`; none when the connection ends first.
    pub async fn until_or_end(&mut self, mark: &str) -> Option<String> {
        loop {
            let found = self
                .unread
                .windows(mark.len())
                .position(|window| window == mark.as_bytes());
            if let Some(start) = found {
                let rest = self.unread.split_off(start + mark.len());
                return Some(String::from_utf8(std::mem::replace(&mut self.unread, rest)).unwrap());
            }
            if self.stream.read_buf(&mut self.unread).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub async fn exactly(&mut self, length: usize) -> String {
        while self.unread.len() < length {
            let read = within(self.stream.read_buf(&mut self.unread)).await.unwrap();
            assert!(read > 0, "the end after {} of {length} bytes", self.unread.len());
        }
        let rest = self.unread.split_off(length);
        String::from_utf8(std::mem::replace(&mut self.unread, rest)).unwrap()
    }

    pub async fn head(&mut self) -> Head {
        Head::parse(&self.until("\r\n\r\n").await)
    }

    /// The next head; none when the connection ends first.
    pub async fn head_or_end(&mut self) -> Option<Head> {
        let text = self.until_or_end("\r\n\r\n").await?;
        Some(Head::parse(&text))
    }

    /// Reads the body that `head` announces.
    pub async fn body(&mut self, head: &Head) -> Body {
        if head.get("transfer-encoding").is_some() {
            return self.chunked().await;
        }
        let length = head.get("content-length").map(|length| length.parse().unwrap());
        Body {
            content: self.exactly(length.unwrap_or(0)).await,
            trailers: Vec::new(),
        }
    }

    async fn chunked(&mut self) -> Body {
        let mut content = String::new();
        loop {
            let line = self.until("\r\n").await;
            let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
            if length == 0 {
                break;
            }
            content += &self.exactly(length).await;
            assert_eq!(self.exactly(2).await, "\r\n");
        }
        let mut trailers = String::new();
        while !trailers.ends_with("\r\n\r\n") && trailers != "\r\n" {
            trailers += &self.until("\r\n").await;
        }
        Body {
            content,
            trailers: fields(&trailers),
        }
    }

    /// Reads a head and its body.
    pub async fn message(&mut self) -> (Head, String) {
        let head = self.head().await;
        let body = self.body(&head).await;
        (head, body.content)
    }

    /// Reads over a head, without patience; false when the connection ended instead.
    pub async fn skip_head(&mut self) -> bool {
        loop {
            if let Some(start) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                self.unread.drain(..start + 4);
                return true;
            }
            if self.stream.read_buf(&mut self.unread).await.unwrap_or(0) == 0 {
                return false;
            }
        }
    }

    /// Reads to the end of the connection.
    pub async fn end(&mut self) -> (String, End) {
        let outcome = within(self.stream.read_to_end(&mut self.unread)).await;
        let end = if outcome.is_ok() { End::Fin } else { End::Reset };
        let bytes = std::mem::take(&mut self.unread);
        (String::from_utf8_lossy(&bytes).into_owned(), end)
    }

    /// Asserts that the other end is gone, in whichever way.
    pub async fn is_cut(&mut self) {
        let (rest, _) = self.end().await;
        assert_eq!(rest, "");
    }

    /// Asserts that the other end goes away soon: within two seconds, the time of a busy machine. Says how soon it was.
    pub async fn is_cut_soon(&mut self) -> Duration {
        let began = Instant::now();
        let cut = timeout(Duration::from_secs(2), self.end()).await;
        assert!(cut.is_ok(), "the other end stays");
        began.elapsed()
    }
}

impl Head {
    fn parse(text: &str) -> Head {
        let (start, rest) = text.split_once("\r\n").unwrap();
        Head {
            start: start.to_owned(),
            fields: fields(rest),
        }
    }

    /// The value of a field that is there once at most.
    pub fn get(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "several {name} in {self:?}");
        values.first().copied()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter().filter(|field| field.0 == name);
        fields.map(|field| field.1.as_str()).collect()
    }

    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

fn fields(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}
