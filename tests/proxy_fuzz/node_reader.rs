//! The child that reads with Node's own parser.

use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::reading::{Foreign, Reading, text};

/// A running reader; it ends with this value.
pub struct Node {
    _child: Child,
    jobs: ChildStdin,
    readings: Lines<BufReader<ChildStdout>>,
}

impl Node {
    pub fn start() -> Node {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proxy_fuzz/node_reader.mjs");
        let mut child = Command::new("node")
            .args(["--no-warnings", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node is installed");
        Node {
            jobs: child.stdin.take().unwrap(),
            readings: BufReader::new(child.stdout.take().unwrap()).lines(),
            _child: child,
        }
    }

    /// Reads requests.
    pub async fn requests(&mut self, stream: &[u8]) -> Reading {
        self.read("requests", &[], stream).await
    }

    /// Reads answers to requests of these methods.
    pub async fn answers(&mut self, methods: &[&str], stream: &[u8]) -> Reading {
        self.read("answers", methods, stream).await
    }

    async fn read(&mut self, kind: &str, asked: &[&str], stream: &[u8]) -> Reading {
        let job = json!({ "kind": kind, "asked": asked, "stream": text(stream) });
        self.jobs.write_all(format!("{job}\n").as_bytes()).await.unwrap();
        let line = self.readings.next_line().await.unwrap();
        let foreign: Foreign = serde_json::from_str(&line.expect("the reader lives")).unwrap();
        foreign.into()
    }
}
