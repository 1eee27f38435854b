//! The structural check: every value against its shape, every key against the table.
//!
//! It never stops at the first issue, and never reports one value twice. Values of environment variables are secrets and
//! are never repeated in a message.

use std::collections::BTreeMap;
use std::str::FromStr;

use nix::sys::signal::Signal;
use serde_json::{Map, Value};

use super::checked::{Checked, CheckedObject};
use super::expected::{expected, seen};
use super::fields::{CONFIG, Fallback, Field, Shape, TextRule, field_at, find};
use super::issue::Findings;
use super::place::{Place, quoted};
use super::scalar::{read_mode, read_network, read_principal, text_complaint, whole};
use super::suggest::nearest;

/// A value of a JavaScript config that JSON cannot hold. In the JSON it is `null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// What it is, in words: `a function`.
    pub kind: String,
}

/// Checks a whole config.
pub fn check(config: &Value, problems: &[Problem], findings: &mut Findings) -> Checked {
    for problem in problems {
        report_problem(problem, findings);
    }
    let root = Place::root();
    if is_problem(&root, problems) {
        return Checked::Broken;
    }
    match config {
        Value::Object(object) => check_object(object, CONFIG, &root, problems, findings),
        other => {
            let fix =
                "Export the config as an object, for example {application: \"my-app\", processes: […]}.";
            let got = if other.is_null() {
                "nothing".to_owned()
            } else {
                seen(other, &Shape::Environment)
            };
            findings.issue(&root, format!("The config must be an object; got {got}"), fix);
            Checked::Broken
        }
    }
}

/// Checks one value against its shape.
pub fn check_value(
    value: &Value,
    shape: &'static Shape,
    place: &Place,
    problems: &[Problem],
    findings: &mut Findings,
) -> Checked {
    if is_problem(place, problems) {
        return Checked::Broken;
    }
    let checked = match (shape, value) {
        (_, Value::Null) => return Checked::Unset,
        (Shape::Text(rule), Value::String(text)) => return check_text(text, *rule, place, findings),
        (Shape::Integer { min, max }, Value::Number(number)) => whole(number)
            .filter(|number| (min..=max).contains(&number))
            .map(Checked::Integer),
        (Shape::Number { min }, Value::Number(number)) => number
            .as_f64()
            .filter(|number| number >= min && number.is_finite())
            .map(Checked::Number),
        (Shape::Boolean, Value::Bool(flag)) => Some(Checked::Boolean(*flag)),
        (Shape::False, Value::Bool(false)) => Some(Checked::Boolean(false)),
        (Shape::Word(words), Value::String(word)) => words
            .contains(&word.as_str())
            .then(|| Checked::Text(word.clone())),
        (Shape::Signal, Value::String(name)) => Signal::from_str(name).ok().map(Checked::Signal),
        (Shape::Mode, mode) => read_mode(mode).map(Checked::Mode),
        (Shape::Principal, principal) => read_principal(principal).map(Checked::Principal),
        (Shape::Network, Value::String(text)) => read_network(text).map(Checked::Network),
        (Shape::List { of, min_length }, Value::Array(elements)) => {
            let checked = check_list(elements, of, place, problems, findings);
            (checked.len() >= *min_length).then_some(Checked::List(checked))
        }
        (Shape::Environment, Value::Object(variables)) => {
            return check_environment(variables, place, problems, findings);
        }
        (Shape::Object(fields), Value::Object(object)) => {
            return check_object(object, fields, place, problems, findings);
        }
        (Shape::Either(shapes), value) => match shapes.iter().find(|shape| is_meant(shape, value)) {
            Some(shape) => return check_value(value, shape, place, problems, findings),
            None => None,
        },
        _ => None,
    };
    checked.unwrap_or_else(|| {
        report_mismatch(value, shape, place, findings);
        Checked::Broken
    })
}

fn check_object(
    object: &Map<String, Value>,
    fields: &'static [Field],
    place: &Place,
    problems: &[Problem],
    findings: &mut Findings,
) -> Checked {
    let mut values = Vec::new();
    for field in fields {
        let here = place.key(field.name);
        let value = object.get(field.name).unwrap_or(&Value::Null);
        match check_value(value, &field.shape, &here, problems, findings) {
            Checked::Unset if field.fallback == Fallback::Required => {
                // A missing field is about the object it is missing from.
                let fix = format!("Add it, for example {}.", field.example);
                findings.issue(place, format!("{here} is required"), fix);
                values.push((field.name, Checked::Broken));
            }
            Checked::Unset => {}
            checked => values.push((field.name, checked)),
        }
    }
    for (key, value) in object {
        if find(fields, key).is_none() && !value.is_null() {
            report_unknown_key(key, fields, place, findings);
        }
    }
    Checked::Object(CheckedObject::new(fields, values))
}

fn check_list(
    elements: &[Value],
    of: &'static Shape,
    place: &Place,
    problems: &[Problem],
    findings: &mut Findings,
) -> Vec<(usize, Checked)> {
    elements
        .iter()
        .enumerate()
        .map(|(index, element)| {
            let label = element.get("id").and_then(Value::as_str);
            (
                index,
                check_value(element, of, &place.index(index, label), problems, findings),
            )
        })
        .filter(|(_, checked)| *checked != Checked::Unset)
        .collect()
}

fn check_environment(
    variables: &Map<String, Value>,
    place: &Place,
    problems: &[Problem],
    findings: &mut Findings,
) -> Checked {
    let mut checked = BTreeMap::new();
    for (name, value) in variables {
        let here = place.key(name);
        if name.is_empty() || name.contains(['=', '\0']) {
            let fix = "Use a name without = and NUL, for example env: {NODE_ENV: \"production\"}.";
            findings.issue(
                &here,
                format!("{here} is not a usable name for an environment variable"),
                fix,
            );
        }
        match value {
            Value::String(text) if !text.contains('\0') => {
                checked.insert(name.clone(), text.clone());
            }
            Value::Null => {}
            Value::String(_) => {
                let fix = "Remove the NUL character; the operating system cannot pass it on, for example write \"a b\".";
                findings.issue(&here, format!("{here} contains a NUL character"), fix);
            }
            other if !is_problem(&here, problems) => {
                let message = format!(
                    "{here} must be a string; got {}",
                    seen(other, &Shape::Environment)
                );
                findings.issue(
                    &here,
                    message,
                    "Put the value in quotes, for example env: {WORKERS: \"4\"}.",
                );
            }
            _ => {}
        }
    }
    Checked::Environment(checked)
}

fn check_text(text: &str, rule: TextRule, place: &Place, findings: &mut Findings) -> Checked {
    let complaint = if text.trim().is_empty() {
        Some("must not be empty".to_owned())
    } else if text.contains('\0') {
        Some("contains a NUL character".to_owned())
    } else {
        text_complaint(text, rule).map(|complaint| format!("{complaint}; got {}", quoted(text)))
    };
    let Some(complaint) = complaint else {
        return Checked::Text(text.to_owned());
    };
    let example = field_at(place).map_or("", |field| field.example);
    findings.issue(
        place,
        format!("{place} {complaint}"),
        format!("Change it, for example to {example}."),
    );
    Checked::Broken
}

/// Which of several shapes a value was meant to have.
fn is_meant(shape: &Shape, value: &Value) -> bool {
    match shape {
        Shape::Integer { .. } => value.is_number(),
        Shape::Object(_) => value.is_object(),
        Shape::False => *value == Value::Bool(false),
        Shape::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        _ => false,
    }
}

fn is_problem(place: &Place, problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.place.is_same(place))
}

fn report_problem(problem: &Problem, findings: &mut Findings) {
    let Problem { place, kind } = problem;
    if place.steps().is_empty() {
        let fix = "Export the config as an object, for example export default {processes: […]} or module.exports = \
                   {processes: […]}.";
        findings.issue(
            place,
            format!("The config must be an object; the module exports {kind}"),
            fix,
        );
        return;
    }
    let fix = match field_at(place) {
        Some(field) => format!("Write the value itself, for example {}.", field.example),
        None => {
            "Use only text, numbers, true, false, lists and plain objects, for example \"text\".".to_owned()
        }
    };
    findings.issue(
        place,
        format!("{place} is {kind}, which a config cannot hold"),
        fix,
    );
}

fn report_mismatch(value: &Value, shape: &'static Shape, place: &Place, findings: &mut Findings) {
    let message = format!("{place} must be {}; got {}", expected(shape), seen(value, shape));
    let example = field_at(place).map_or("", |field| field.example);
    let meant = match (shape, value) {
        (Shape::Word(words), Value::String(word)) => nearest(word, words.iter().copied()),
        (Shape::Signal, Value::String(name)) => {
            let name = if name.to_uppercase().starts_with("SIG") {
                name.clone()
            } else {
                format!("SIG{name}")
            };
            nearest(&name, Signal::iterator().map(Signal::as_str))
        }
        _ => None,
    };
    let fix = match meant {
        Some(meant) => {
            let name = field_at(place).map_or("", |field| field.name);
            format!("Did you mean {name}: \"{meant}\"?")
        }
        None => format!("Write it in that form, for example {example}."),
    };
    findings.issue(place, message, fix);
}

fn report_unknown_key(key: &str, fields: &'static [Field], place: &Place, findings: &mut Findings) {
    let here = place.key(key);
    let fix = match nearest(key, fields.iter().map(|field| field.name)) {
        Some(known) => format!("Did you mean `{known}`? Otherwise remove it; it has no effect."),
        None => {
            let known: Vec<_> = fields
                .iter()
                .map(|field| field.name)
                .filter(|name| !name.starts_with('$'))
                .collect();
            format!("Remove it; it has no effect. Known here: {}.", known.join(", "))
        }
    };
    findings.warn(&here, format!("Unknown key {here}"), fix);
}

impl Problem {
    /// The problem at this path of keys and positions, labelled with the ids found in `config`.
    pub fn at(path: &[Value], kind: &str, config: &Value) -> Problem {
        let mut place = Place::root();
        let mut here = Some(config);
        for step in path {
            match step {
                Value::String(key) => {
                    place = place.key(key);
                    here = here.and_then(|value| value.get(key));
                }
                other => {
                    let index = other
                        .as_u64()
                        .and_then(|index| usize::try_from(index).ok())
                        .unwrap_or(usize::MAX);
                    here = here.and_then(|value| value.get(index));
                    let label = here.and_then(|value| value.get("id")).and_then(Value::as_str);
                    place = place.index(index, label);
                }
            }
        }
        Problem {
            place,
            kind: kind.to_owned(),
        }
    }
}
