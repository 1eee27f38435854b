//! What validation finds: issues, which make a config unusable, and warnings, which do not.

use serde_json::Value;

use super::place::Place;

/// One thing to change, for people: what is wrong, and how to put it right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// What is wrong and where, without a full stop at the end.
    pub message: String,
    /// What to do about it, as whole sentences.
    pub fix: String,
}

/// Collects what is found, in any order.
#[derive(Debug, Default)]
pub struct Findings {
    issues: Vec<(Place, Issue)>,
    warnings: Vec<(Place, Issue)>,
}

/// What was found, in the order in which it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Everything that must be put right.
    pub issues: Vec<Issue>,
    /// Everything that is worth a look.
    pub warnings: Vec<Issue>,
}

impl Findings {
    /// Records an issue about the value at `place`.
    pub fn issue(&mut self, place: &Place, message: impl Into<String>, fix: impl Into<String>) {
        self.issues.push((
            place.clone(),
            Issue {
                message: message.into(),
                fix: fix.into(),
            },
        ));
    }

    /// Records a warning about the value at `place`.
    pub fn warn(&mut self, place: &Place, message: impl Into<String>, fix: impl Into<String>) {
        self.warnings.push((
            place.clone(),
            Issue {
                message: message.into(),
                fix: fix.into(),
            },
        ));
    }

    /// Sorts what was found by where it stands in `config`; what concerns the config as a whole comes first.
    pub fn in_order(self, config: &Value) -> Verdict {
        Verdict {
            issues: sorted(self.issues, config),
            warnings: sorted(self.warnings, config),
        }
    }
}

fn sorted(mut found: Vec<(Place, Issue)>, config: &Value) -> Vec<Issue> {
    found.sort_by_cached_key(|(place, _)| place.order_in(config));
    found.into_iter().map(|(_, issue)| issue).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shows_config_wide_findings_first_and_the_rest_as_written() {
        let mut findings = Findings::default();
        findings.issue(&Place::root().key("a"), "third", "");
        findings.issue(&Place::root().key("b"), "second", "");
        findings.issue(&Place::root(), "first", "");
        findings.issue(&Place::root().key("missing"), "last", "");
        let verdict = findings.in_order(&json!({"b": 1, "a": 2}));
        let messages: Vec<_> = verdict
            .issues
            .iter()
            .map(|issue| issue.message.as_str())
            .collect();
        assert_eq!(messages, ["first", "second", "third", "last"]);
    }
}
