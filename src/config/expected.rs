//! The words for shapes and for the values found instead: "a whole number from 1 to 65535", "a list".

use serde_json::Value;

use super::fields::{Field, MAX_INTEGER, Shape};
use super::place::quoted;

/// What a shape takes, to stand after "must be".
pub fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Text(_) => "a string".to_owned(),
        Shape::Integer {
            min,
            max: MAX_INTEGER,
        } => format!("a whole number from {min} to 2^53 - 1"),
        Shape::Integer { min, max } => format!("a whole number from {min} to {max}"),
        Shape::Number { min } => format!("a number of at least {min}"),
        Shape::Boolean => "true or false".to_owned(),
        Shape::False => "false".to_owned(),
        Shape::Word(words) => words
            .iter()
            .map(|word| format!("\"{word}\""))
            .collect::<Vec<_>>()
            .join(" or "),
        Shape::Signal => "the name of a signal".to_owned(),
        Shape::Mode => "permissions as three octal digits in quotes, or a number up to 0o777".to_owned(),
        Shape::Principal => "a name or an id".to_owned(),
        Shape::Network => "a network in CIDR notation".to_owned(),
        Shape::List { min_length: 0, .. } => "a list".to_owned(),
        Shape::List { min_length, .. } => format!("a list with at least {min_length} element"),
        Shape::Environment => "an object of strings".to_owned(),
        Shape::Object(fields) => format!("an object {{{}}}", outline(fields)),
        Shape::Either(shapes) => shapes.iter().map(expected).collect::<Vec<_>>().join(", or "),
    }
}

/// What was found, to stand after "got". Nothing of what belongs to the environment is repeated.
pub fn seen(value: &Value, shape: &Shape) -> String {
    let is_secret = matches!(shape, Shape::Environment);
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) if is_secret => "a boolean".to_owned(),
        Value::Number(_) if is_secret => "a number".to_owned(),
        Value::String(_) if is_secret => "a string".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(elements) if elements.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn outline(fields: &[Field]) -> String {
    const SHOWN: usize = 4;
    let names: Vec<_> = fields.iter().take(SHOWN).map(|field| field.name).collect();
    format!(
        "{}{}",
        names.join(", "),
        if fields.len() > SHOWN { ", …" } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fields::{PORT_RANGE, PROXY};
    use serde_json::json;

    #[test]
    fn shapes_have_words() {
        const EITHER: &Shape =
            &Shape::Either(&[Shape::Integer { min: 0, max: 65535 }, Shape::Object(PORT_RANGE)]);
        assert_eq!(
            expected(EITHER),
            "a whole number from 0 to 65535, or an object {from, to}"
        );
        assert_eq!(
            expected(&Shape::Object(PROXY)),
            "an object {host, port, upstreamHost, healthPath, …}"
        );
        assert_eq!(expected(&Shape::Word(&["a", "b"])), "\"a\" or \"b\"");
    }

    #[test]
    fn secrets_are_not_repeated() {
        for value in [json!("hunter2"), json!(4711), json!(true)] {
            assert!(!seen(&value, &Shape::Environment).contains(&value.to_string()));
        }
        assert_eq!(seen(&json!("abc"), &Shape::Boolean), "\"abc\"");
    }
}
