//! How hyper reads a stream, without any network: the whole of it is there, and then it ends.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::Cursor;
use std::rc::Rc;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version, client, server};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, join, sink};

use super::reading::{Field, Message, Reading, ordered};

const LARGE: usize = 1024 * 1024;

/// Reads requests.
pub async fn requests(bytes: &[u8]) -> Reading {
    let messages = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let messages = Rc::clone(&messages);
        async move {
            let (head, body) = request.into_parts();
            let message = Message {
                start: (head.method.to_string(), head.uri.to_string()),
                is_http_1_0: head.version == Version::HTTP_10,
                fields: fields(&head.headers),
                ..Message::default()
            };
            let message = with_body(message, body).await;
            messages.borrow_mut().push(message);
            let mut response = Response::new(Empty::<Bytes>::new());
            if head.method == Method::CONNECT {
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            }
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(join(Cursor::new(bytes.to_vec()), sink()));
    let served = server::conn::http1::Builder::new()
        .half_close(true)
        .max_buf_size(LARGE)
        .max_headers(200)
        .serve_connection(io, service)
        .await;
    let error = served.err().filter(|error| !error.is_incomplete_message());
    Reading {
        messages: messages.take(),
        error: error.map(|error| error.to_string()),
    }
}

/// Reads the first answer proper to a request of that method.
pub async fn answer(bytes: &[u8], method: &str) -> Reading {
    let (near, mut far) = duplex(LARGE);
    let io = TokioIo::new(near);
    let (mut sender, connection) = client::conn::http1::Builder::new()
        .max_buf_size(LARGE)
        .max_headers(200)
        .handshake(io)
        .await
        .unwrap();
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = method.parse().unwrap();
    let answered = async {
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let reason = head
            .extensions
            .get::<ReasonPhrase>()
            .map(|reason| reason.as_bytes());
        let reason = reason.or(head.status.canonical_reason().map(str::as_bytes));
        let message = Message {
            start: (
                head.status.as_str().to_owned(),
                String::from_utf8_lossy(reason.unwrap_or_default()).into_owned(),
            ),
            is_http_1_0: head.version == Version::HTTP_10,
            fields: fields(&head.headers),
            ..Message::default()
        };
        Ok::<_, hyper::Error>(with_body(message, body).await)
    };
    let sent = async {
        // hyper takes no answer before it has asked.
        let _ = far.read(&mut [0; 1024]).await;
        let _ = far.write_all(bytes).await;
        drop(far);
    };
    // However the connection ends, what it has read is in the message.
    let (answered, _, ()) = tokio::join!(answered, connection, sent);
    match answered {
        Ok(message) => Reading {
            messages: vec![message],
            error: None,
        },
        Err(error) => Reading {
            messages: Vec::new(),
            error: Some(error.to_string()),
        },
    }
}

async fn with_body(mut message: Message, mut body: Incoming) -> Message {
    loop {
        match body.frame().await {
            None => {
                message.complete = true;
                return message;
            }
            Some(Err(_)) => return message,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => message.body.extend_from_slice(&data),
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        message.trailers = fields(&trailers);
                    }
                }
            },
        }
    }
}

fn fields(headers: &HeaderMap) -> Vec<Field> {
    let all = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    ordered(all.collect())
}
