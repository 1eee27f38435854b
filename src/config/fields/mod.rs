//! The table of every config field: its shape, its default and what it means.
//!
//! Everything that must agree about fields is made from this table: the structural check, the suggestions for misspelt
//! keys, the resolved defaults, the JSON Schema and (by a test) the reference in `docs/config.md`.

mod daemon;
mod process;

use super::place::{Place, Step};

pub use daemon::{CONFIG, CONTROL, LEGACY_PROCESS, LEGACY_TAKEOVER, PROXY, RELEASE_RETENTION};
pub use process::{HEALTH, LIFECYCLE, MEMORY, PORT_RANGE, PROCESS, RESTART};

/// One field of an object in the config.
#[derive(Debug)]
pub struct Field {
    /// The key, as written in the config.
    pub name: &'static str,
    /// Which values it takes.
    pub shape: Shape,
    /// What holds when it is left out.
    pub fallback: Fallback,
    /// A value that works, in JavaScript notation; fixes and the reference show it.
    pub example: &'static str,
    /// One or two sentences on what it does.
    pub about: &'static str,
}

/// What holds when a field is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The config is not valid without it.
    Required,
    /// Nothing: the feature is off, or the part does not exist.
    Nothing,
    /// This JSON value.
    Value(&'static str),
    /// A value that depends on others, in words.
    Described(&'static str),
}

/// Which values a field takes. Every shape also takes `null`, which means unset.
#[derive(Debug)]
pub enum Shape {
    /// Text that is not empty.
    Text(TextRule),
    /// A whole number within bounds, both included.
    Integer {
        /// The smallest value.
        min: u64,
        /// The largest value.
        max: u64,
    },
    /// A finite number, fractions included.
    Number {
        /// The smallest value.
        min: f64,
    },
    /// `true` or `false`.
    Boolean,
    /// The literal `false`.
    False,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// The name of a signal, `SIGTERM`.
    Signal,
    /// Permission bits: `"660"`, `"0o660"` or a number up to 0o777.
    Mode,
    /// A user or group: an id, or a name.
    Principal,
    /// A network in CIDR notation, or a single address.
    Network,
    /// A list of values of one shape.
    List {
        /// The shape of each element.
        of: &'static Shape,
        /// How many elements there must be at least.
        min_length: usize,
    },
    /// Environment variables: names with text values.
    Environment,
    /// An object with known fields.
    Object(&'static [Field]),
    /// One of several shapes, told apart by the JSON type of the value.
    Either(&'static [Shape]),
}

/// What a text may consist of, beyond not being empty and free of NUL characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextRule {
    /// Anything.
    Any,
    /// The application's name: it becomes part of file names.
    Application,
    /// A process id: `#` separates it from the replica's number.
    ProcessId,
    /// A host name or an address, without a port.
    Host,
    /// The path of a request: begins with `/` and is made of visible ASCII characters.
    RequestPath,
}

/// The largest whole number JavaScript and JSON tools hold exactly: 2^53 - 1.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// The words of `policy`.
pub const POLICIES: &[&str] = &["proxied", "companion", "singleton", "service"];

/// The words of `deployStrategy`.
pub const DEPLOY_STRATEGIES: &[&str] = &["persistent", "handoff"];

/// The one word `gracefulStopMs` takes besides a number.
pub const INDEFINITE: &str = "indefinite";

/// Milliseconds or bytes, zero included.
const AMOUNT: Shape = Shape::Integer {
    min: 0,
    max: MAX_INTEGER,
};

/// Milliseconds or bytes, where zero makes no sense.
const POSITIVE_AMOUNT: Shape = Shape::Integer {
    min: 1,
    max: MAX_INTEGER,
};

const TEXT: Shape = Shape::Text(TextRule::Any);

/// The field at `place`, or the nearest field around it.
pub fn field_at(place: &Place) -> Option<&'static Field> {
    let mut fields = CONFIG;
    let mut found = None;
    for step in place.steps() {
        let Step::Key(key) = step else { continue };
        let Some(field) = find(fields, key) else { break };
        found = Some(field);
        match object_within(&field.shape) {
            Some(inner) => fields = inner,
            None => break,
        }
    }
    found
}

/// The field of this name among `fields`.
pub fn find(fields: &'static [Field], name: &str) -> Option<&'static Field> {
    fields.iter().find(|field| field.name == name)
}

/// The fields of the object a shape is, or lists, or allows.
pub fn object_within(shape: &'static Shape) -> Option<&'static [Field]> {
    match shape {
        Shape::Object(fields) => Some(fields),
        Shape::List { of, .. } => object_within(of),
        Shape::Either(shapes) => shapes.iter().find_map(object_within),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn each_field(fields: &'static [Field], visit: &mut impl FnMut(&'static Field)) {
        for field in fields {
            visit(field);
            if let Some(inner) = object_within(&field.shape) {
                each_field(inner, visit);
            }
        }
    }

    #[test]
    fn names_are_unique_and_everything_is_described() {
        each_field(CONFIG, &mut |field| {
            assert!(field.about.ends_with('.'), "{} lacks a description", field.name);
            assert!(
                field
                    .example
                    .starts_with(&field.name.replace("$schema", "\"$schema\"")),
                "{}",
                field.name
            );
            if let Some(inner) = object_within(&field.shape) {
                let mut names: Vec<_> = inner.iter().map(|inner| inner.name).collect();
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), inner.len(), "a name appears twice in {}", field.name);
            }
        });
    }

    #[test]
    fn default_values_are_json() {
        each_field(CONFIG, &mut |field| {
            if let Fallback::Value(text) = field.fallback {
                assert!(
                    serde_json::from_str::<Value>(text).is_ok(),
                    "{}: {text}",
                    field.name
                );
            }
        });
    }

    #[test]
    fn a_place_leads_to_its_field() {
        let place = Place::root()
            .key("processes")
            .index(3, None)
            .key("port")
            .key("from");
        assert_eq!(field_at(&place).map(|field| field.name), Some("from"));
        let inside_env = Place::root()
            .key("processes")
            .index(0, None)
            .key("env")
            .key("HOME");
        assert_eq!(field_at(&inside_env).map(|field| field.name), Some("env"));
        assert!(field_at(&Place::root()).is_none());
        assert!(field_at(&Place::root().key("unknown")).is_none());
    }
}
