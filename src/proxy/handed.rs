//! A client connection as one proxy gives it up and another goes on with it: its descriptors, and plain values that
//! another process, perhaps of another version, can be told. How they are told is decided elsewhere.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use super::body::Body;
use super::request::Request;

/// A connection between two proxies. Nobody reads from its sockets or writes to them before it is adopted, so it can
/// just as well be adopted by the proxy that gave it up, or by a third one; but by one only.
#[derive(Debug)]
pub struct Handed {
    /// All that is known of it.
    pub state: HandedState,
    /// The socket of the client.
    pub client: OwnedFd,
    /// The socket of the upstream; only a tunnel has one.
    pub upstream: Option<OwnedFd>,
}

/// What is known of a connection. The bytes in it are at most those that fit into two buffers of 64 KiB and the head of
/// an answer; as text each becomes one character of U+0000 to U+00FF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandedState {
    /// Names it, before and afterwards.
    pub number: u64,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// How far it has come.
    pub stage: Stage,
}

/// How far a connection has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// It has no request, or not all of its head.
    Resting(Resting),
    /// It has a request of which no upstream has seen anything that counts.
    Held(Box<HeldRequest>),
    /// It has been upgraded.
    Tunnel(OpenTunnel),
}

/// A connection that waits for the rest of a head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resting {
    /// It has had an answer already, so that it may rest as long as the idle time allows.
    pub answered: bool,
    /// What has come since.
    #[serde(with = "byte_text")]
    pub unread: Vec<u8>,
}

/// A request that waits for an upstream, as it was read and written anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldRequest {
    pub(super) usage: Usage,
    pub(super) request: Request,
    pub(super) body: Body,
    /// Head and beginning of the body, for the upstream.
    #[serde(with = "byte_text")]
    pub(super) output: Vec<u8>,
    /// What has come from the client behind that.
    #[serde(with = "byte_text")]
    pub(super) unread: Vec<u8>,
    /// How much of the holding time has been used.
    pub(super) waited_ms: u64,
}

/// An upgraded connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenTunnel {
    /// The route it was counted on, by [`super::route::Connections::id`] of the proxy that gave it up.
    pub route: u64,
    /// What has been told of it.
    pub usage: Usage,
    /// From the client to the upstream.
    pub up: HandedFlow,
    /// From the upstream to the client.
    pub down: HandedFlow,
}

/// What is told of a connection in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// The method of its request.
    pub method: String,
    /// The path of its request, as it is shown.
    pub path: String,
    /// How long ago its request began, in milliseconds.
    pub age_ms: u64,
    /// Bytes from the client since then.
    pub bytes_in: u64,
    /// Bytes to the client since then.
    pub bytes_out: u64,
}

/// One direction of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandedFlow {
    /// What has been read and not yet written.
    #[serde(with = "byte_text")]
    pub pending: Vec<u8>,
    /// Whether it has ended.
    pub phase: Phase,
}

/// How far one direction of a tunnel has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Bytes may come.
    Open,
    /// The FIN has come and is still to be passed on.
    Ending,
    /// The FIN has been passed on.
    Ended,
}

/// Takes a socket out of its runtime. What has come to it in the meantime stays in it.
pub(super) fn descriptor(stream: TcpStream) -> io::Result<OwnedFd> {
    Ok(stream.into_std()?.into())
}

/// Puts a socket into the runtime of this thread.
pub(super) fn socket(descriptor: OwnedFd) -> io::Result<TcpStream> {
    let stream = std::net::TcpStream::from(descriptor);
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

/// Bytes as text: one character each. HTTP is mostly ASCII, which stays as short as it is.
mod byte_text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().copied().map(char::from).collect();
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = text.chars().map(u8::try_from).collect::<Result<_, _>>();
        bytes.map_err(|_| D::Error::custom("a character that stands for no byte"))
    }
}
