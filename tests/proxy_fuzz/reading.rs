//! What a reader has understood of a stream of messages.

use serde::Deserialize;

/// A stream as one reader understands it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub messages: Vec<Message>,
    /// Why the reader gave up. A stream that ends within a message is no error: the message is not complete then.
    pub error: Option<String>,
}

/// A message. Names of fields are in small letters; the list is ordered by them, and repetitions stay in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Method and target, or code and reason.
    pub start: (String, String),
    pub is_http_1_0: bool,
    pub fields: Vec<Field>,
    pub body: Vec<u8>,
    pub trailers: Vec<Field>,
    pub complete: bool,
}

pub type Field = (String, Vec<u8>);

impl Message {
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.fields.iter().filter(move |field| field.0 == name);
        fields.map(|field| field.1.as_slice())
    }

    pub fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// The elements of all list-valued fields of that name, in small letters. What is no text is no element.
    pub fn tokens(&self, name: &str) -> Vec<String> {
        self.values(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .filter_map(|token| std::str::from_utf8(token).ok())
            .map(|token| token.trim_matches([' ', '\t']).to_ascii_lowercase())
            .filter(|token| !token.is_empty())
            .collect()
    }

    /// Whether an answer is one before the answer proper.
    pub fn is_interim(&self) -> bool {
        self.start.0.starts_with('1')
    }

    /// What is different from `other`, if anything. Of a message that is not complete, there may be less.
    pub fn difference(&self, other: &Message) -> Option<String> {
        if self.start != other.start {
            return Some(format!("{:?} instead of {:?}", self.start, other.start));
        }
        if self.fields != other.fields {
            return Some(format!(
                "fields {} instead of {}",
                shown(&self.fields),
                shown(&other.fields)
            ));
        }
        if self.complete && !other.complete {
            return Some("a complete message instead of a truncated one".to_owned());
        }
        let is_same = if self.complete {
            self.body == other.body && self.trailers == other.trailers
        } else {
            other.body.starts_with(&self.body)
        };
        (!is_same).then(|| {
            format!(
                "body {:?} with trailers {} instead of {:?} with {}",
                self.body.escape_ascii().to_string(),
                shown(&self.trailers),
                other.body.escape_ascii().to_string(),
                shown(&other.trailers)
            )
        })
    }
}

fn shown(fields: &[Field]) -> String {
    let lines: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.escape_ascii()))
        .collect();
    format!("[{}]", lines.join(" | "))
}

/// Brings fields into the order of their names.
pub fn ordered(mut fields: Vec<Field>) -> Vec<Field> {
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

/// A reading as Node writes it: every character of a text is one byte.
#[derive(Debug, Deserialize)]
pub struct Foreign {
    messages: Vec<ForeignMessage>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ForeignMessage {
    start: (String, String),
    is_http10: bool,
    fields: Vec<(String, String)>,
    body: String,
    trailers: Vec<(String, String)>,
    complete: bool,
}

impl From<Foreign> for Reading {
    fn from(foreign: Foreign) -> Reading {
        let fields = |list: Vec<(String, String)>| {
            ordered(
                list.into_iter()
                    .map(|(name, value)| (name.to_ascii_lowercase(), bytes(&value)))
                    .collect(),
            )
        };
        let messages = foreign.messages.into_iter().map(|message| Message {
            start: message.start,
            is_http_1_0: message.is_http10,
            fields: fields(message.fields),
            body: bytes(&message.body),
            trailers: fields(message.trailers),
            complete: message.complete,
        });
        Reading {
            messages: messages.collect(),
            error: foreign.error,
        }
    }
}

/// Bytes as a text of one character each, and back.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|character| u8::try_from(character).unwrap())
        .collect()
}
