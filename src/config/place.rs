//! Where in a config something is, written so that an operator finds it: `processes[2] ("web").port.from`.

use std::fmt;

use serde_json::Value;

/// Labels longer than this are cut.
const MAX_LABEL_CHARACTERS: usize = 60;

/// One step from a value to something inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into an object, by key.
    Key(String),
    /// Into a list, by position, with the `id` of the element when it has one.
    Index {
        /// The position, from 0.
        index: usize,
        /// The element's id.
        label: Option<String>,
    },
}

/// The way from the config as a whole to a value in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    steps: Vec<Step>,
}

impl Place {
    /// The config as a whole.
    pub fn root() -> Place {
        Place::default()
    }

    /// The steps from the root.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The value under `key` of the object here.
    pub fn key(&self, key: &str) -> Place {
        self.step(Step::Key(key.to_owned()))
    }

    /// Element `index` of the list here.
    pub fn index(&self, index: usize, label: Option<&str>) -> Place {
        self.step(Step::Index {
            index,
            label: label.map(str::to_owned),
        })
    }

    /// Whether both lead to the same value; labels do not count.
    pub fn is_same(&self, other: &Place) -> bool {
        self.steps.len() == other.steps.len()
            && self.steps.iter().zip(&other.steps).all(|pair| match pair {
                (Step::Key(one), Step::Key(another)) => one == another,
                (Step::Index { index: one, .. }, Step::Index { index: another, .. }) => one == another,
                _ => false,
            })
    }

    /// Where the value stands in the text of `config`: comparing these puts places in the order in which they were
    /// written. A key that is not there comes after those that are.
    pub fn order_in(&self, config: &Value) -> Vec<usize> {
        let mut here = Some(config);
        self.steps
            .iter()
            .map(|step| match step {
                Step::Index { index, .. } => {
                    here = here.and_then(|value| value.get(index));
                    *index
                }
                Step::Key(key) => {
                    let object = here.and_then(Value::as_object);
                    here = object.and_then(|object| object.get(key));
                    object
                        .and_then(|object| object.keys().position(|other| other == key))
                        .unwrap_or(usize::MAX)
                }
            })
            .collect()
    }

    fn step(&self, step: Step) -> Place {
        let mut steps = self.steps.clone();
        steps.push(step);
        Place { steps }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return formatter.write_str("the config");
        }
        for (position, step) in self.steps.iter().enumerate() {
            match step {
                Step::Key(key) if is_plain(key) && position == 0 => formatter.write_str(key)?,
                Step::Key(key) if is_plain(key) => write!(formatter, ".{key}")?,
                Step::Key(key) => write!(formatter, "[{}]", quoted(key))?,
                Step::Index { index, label: None } => write!(formatter, "[{index}]")?,
                Step::Index {
                    index,
                    label: Some(label),
                } => write!(formatter, "[{index}] ({})", quoted(label))?,
            }
        }
        Ok(())
    }
}

/// The text in quotes, on one line and not endless.
pub fn quoted(text: &str) -> String {
    if text.chars().count() <= MAX_LABEL_CHARACTERS {
        return format!("{text:?}");
    }
    let cut: String = text.chars().take(MAX_LABEL_CHARACTERS).collect();
    format!("{:?}", format!("{cut}…"))
}

fn is_plain(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= MAX_LABEL_CHARACTERS
        && key
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "_$-".contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_like_the_config() {
        let processes = Place::root().key("processes");
        let cases = [
            (Place::root(), "the config"),
            (Place::root().key("proxy").key("port"), "proxy.port"),
            (
                processes.index(2, Some("web")).key("port").key("from"),
                r#"processes[2] ("web").port.from"#,
            ),
            (
                processes.index(0, None).key("env").key("A B"),
                r#"processes[0].env["A B"]"#,
            ),
            (
                processes.index(0, Some("a\n\"b\"")),
                r#"processes[0] ("a\n\"b\"")"#,
            ),
        ];
        for (place, text) in cases {
            assert_eq!(place.to_string(), text);
        }
        assert!(processes.index(0, Some(&"x".repeat(5000))).to_string().len() < 100);
    }

    #[test]
    fn order_is_that_of_the_text() {
        let config = json!({"b": 1, "a": [{"z": 1, "y": 2}]});
        let of = |place: &Place| place.order_in(&config);
        let list = Place::root().key("a");
        assert!(of(&Place::root()) < of(&Place::root().key("b")));
        assert!(of(&Place::root().key("b")) < of(&list));
        assert!(of(&list.index(0, None).key("z")) < of(&list.index(0, None).key("y")));
        assert!(of(&list.index(0, None).key("y")) < of(&list.index(0, None).key("x")));
        assert!(of(&list) < of(&Place::root().key("c")));
    }
}
