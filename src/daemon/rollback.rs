//! Which release a rollback goes back to.

use std::sync::Arc;

use super::{Book, Engine, EngineError};
use crate::release::lifecycle::Phase;
use crate::release::{Release, ReleaseKey};

impl Engine {
    /// The release asked for, or the one that was active before the present one.
    pub(super) fn rollback_target(&self, asked: Option<&str>) -> Result<Arc<Release>, EngineError> {
        let book = self.book();
        match asked {
            Some(id) => book.named_target(id),
            None => {
                let retained = |key: &ReleaseKey| book.releases.iter().any(|release| release.key() == key);
                let key = before(&book.activations, book.active.as_ref(), retained);
                let release = key.and_then(|key| book.releases.iter().find(|release| release.key() == key));
                release.cloned().ok_or(EngineError::NoPreviousRelease)
            }
        }
    }
}

impl Book {
    /// A failed instance is passed over for an earlier one that was active.
    fn named_target(&self, id: &str) -> Result<Arc<Release>, EngineError> {
        let found = self.find(id).ok_or_else(|| self.not_found(id))?;
        let release = match found.phase() {
            Phase::Failed => {
                let mut instances = self.releases.iter().filter(|release| release.key().id == id);
                let active_once = instances.rfind(|release| release.phase() != Phase::Failed);
                active_once
                    .cloned()
                    .ok_or_else(|| EngineError::NeverActive { id: id.to_owned() })?
            }
            _ => found,
        };
        match release.phase() {
            Phase::Active => Err(EngineError::AlreadyActive { id: id.to_owned() }),
            _ => Ok(release),
        }
    }
}

/// The newest of `activations` (oldest first) that is not the active one and still `retained`.
fn before<'a>(
    activations: &'a [ReleaseKey],
    active: Option<&ReleaseKey>,
    retained: impl Fn(&ReleaseKey) -> bool,
) -> Option<&'a ReleaseKey> {
    activations
        .iter()
        .rev()
        .find(|key| Some(*key) != active && retained(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ReleaseKey {
        let (id, instance) = name.split_at(1);
        ReleaseKey {
            id: id.to_owned(),
            instance: instance.parse().expect("a number"),
        }
    }

    #[test]
    fn two_rollbacks_return_to_where_one_was() {
        let table = [
            // a, then b: back to a, which is started anew or put back as it is; then to b.
            (&["a1", "b1"][..], Some("b1"), Some("a1")),
            (&["a1", "b1", "a2"], Some("a2"), Some("b1")),
            (&["a1", "b1", "a1"], Some("a1"), Some("b1")),
            // The same id deployed again is another release.
            (&["a1", "a2"], Some("a2"), Some("a1")),
            // Nothing active: the last that was.
            (&["a1", "b1"], None, Some("b1")),
            (&["a1"], Some("a1"), None),
            (&[], None, None),
        ];
        for (activations, active, expected) in table {
            let activations: Vec<ReleaseKey> = activations.iter().map(|name| key(name)).collect();
            let found = before(&activations, active.map(key).as_ref(), |_| true);
            assert_eq!(
                found,
                expected.map(key).as_ref(),
                "{activations:?}, active {active:?}"
            );
        }
        let forgotten = before(
            &[key("a1"), key("b1"), key("c1")],
            Some(&key("c1")),
            |candidate| candidate.id != "b",
        )
        .cloned();
        assert_eq!(forgotten, Some(key("a1")));
    }
}
