//! A config whose every value has the right shape, or is marked as broken: what the rules and the resolver read.

use std::collections::BTreeMap;

use ipnet::IpNet;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::check::check_value;
use super::fields::{Fallback, Field, find};
use super::issue::Findings;
use super::place::Place;
use super::types::Principal;

/// A value that was checked against its shape.
#[derive(Clone, Debug, PartialEq)]
pub enum Checked {
    /// Left out, `null` or `undefined`.
    Unset,
    /// There is something, and an issue about it was recorded; nothing more should be said about it.
    Broken,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number within its bounds.
    Integer(u64),
    /// A finite number within its bounds.
    Number(f64),
    /// Text that follows its rule, or a word from its list.
    Text(String),
    /// A signal.
    Signal(Signal),
    /// Permission bits.
    Mode(u32),
    /// A user or group.
    Principal(Principal),
    /// A network.
    Network(IpNet),
    /// The elements that are not `null`, with their positions.
    List(Vec<(usize, Checked)>),
    /// Environment variables.
    Environment(BTreeMap<String, String>),
    /// An object with known fields.
    Object(CheckedObject),
}

/// An object with known fields. Fields that are unset or unknown are not held.
#[derive(Clone, Debug)]
pub struct CheckedObject {
    fields: &'static [Field],
    values: Vec<(&'static str, Checked)>,
}

impl PartialEq for CheckedObject {
    fn eq(&self, other: &CheckedObject) -> bool {
        self.values == other.values
    }
}

impl CheckedObject {
    /// An object with these fields set.
    pub fn new(fields: &'static [Field], values: Vec<(&'static str, Checked)>) -> CheckedObject {
        CheckedObject { fields, values }
    }

    /// Whether the field was written, rightly or wrongly.
    pub fn is_set(&self, name: &str) -> bool {
        self.written(name).is_some()
    }

    /// Whether an issue about the field itself was recorded.
    pub fn is_broken(&self, name: &str) -> bool {
        matches!(self.written(name), Some(Checked::Broken))
    }

    /// The value of a field, or its default where that is a plain value.
    pub fn value(&self, name: &str) -> Checked {
        self.written(name)
            .cloned()
            .unwrap_or_else(|| default_of(self.fields, name))
    }

    /// The text or word of a field, by default too.
    pub fn text(&self, name: &str) -> Option<String> {
        if let Checked::Text(text) = self.value(name) {
            Some(text)
        } else {
            None
        }
    }

    /// The whole number of a field, by default too.
    pub fn integer(&self, name: &str) -> Option<u64> {
        if let Checked::Integer(number) = self.value(name) {
            Some(number)
        } else {
            None
        }
    }

    /// The object of a field, by default too.
    pub fn object(&self, name: &str) -> Option<CheckedObject> {
        if let Checked::Object(object) = self.value(name) {
            Some(object)
        } else {
            None
        }
    }

    /// The elements of a list, by default too; nothing when the field is unset or broken.
    pub fn list(&self, name: &str) -> Vec<(usize, Checked)> {
        if let Checked::List(elements) = self.value(name) {
            elements
        } else {
            Vec::new()
        }
    }

    fn written(&self, name: &str) -> Option<&Checked> {
        self.values
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, value)| value)
    }
}

fn default_of(fields: &'static [Field], name: &str) -> Checked {
    let field = find(fields, name).expect("only fields of the table are asked for");
    let Fallback::Value(text) = field.fallback else {
        return Checked::Unset;
    };
    let value: Value = serde_json::from_str(text).expect("a test reads every default as JSON");
    check_value(
        &value,
        &field.shape,
        &Place::root(),
        &[],
        &mut Findings::default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fields::{CONFIG, PROXY, object_within};

    #[test]
    fn unset_fields_have_their_defaults() {
        let proxy = CheckedObject::new(PROXY, vec![("healthPath", Checked::Broken)]);
        assert_eq!(proxy.integer("port"), Some(8182));
        assert_eq!(proxy.text("host"), Some("127.0.0.1".to_owned()));
        assert_eq!(proxy.value("maxConnections"), Checked::Unset);
        assert_eq!(proxy.text("healthPath"), None);
        assert!(proxy.is_broken("healthPath") && proxy.is_set("healthPath"));
        assert!(!proxy.is_set("port"));
    }

    #[test]
    fn every_default_fits_its_own_shape() {
        fn each(fields: &'static [Field]) {
            for field in fields {
                assert_ne!(default_of(fields, field.name), Checked::Broken, "{}", field.name);
                if let Some(inner) = object_within(&field.shape) {
                    each(inner);
                }
            }
        }
        each(CONFIG);
    }
}
