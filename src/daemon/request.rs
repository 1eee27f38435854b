//! What a deploy asks for, checked and completed.

use std::path::{Path, PathBuf};

use super::EngineError;
use crate::clock::Timestamp;
use crate::error::plain;

/// The longest release id.
const LONGEST_ID: usize = 200;

/// A deploy as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployRequest {
    /// The release's folder, absolute.
    pub release_path: PathBuf,
    /// Its id, if it is to have a given one.
    pub release_id: Option<String>,
    /// Its revision.
    pub revision: Option<String>,
    /// Whether to queue behind another deploy instead of failing.
    pub wait: bool,
}

/// A rollback as asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RollbackRequest {
    /// The release to go back to; the one active before without it.
    pub release_id: Option<String>,
    /// Whether to queue behind a deploy instead of failing.
    pub wait: bool,
}

/// Who a release is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// Its id.
    pub id: String,
    /// Its revision; its id where none was given.
    pub revision: String,
}

impl DeployRequest {
    /// Checks the parameters and settles the id: the given one, else the revision made fit, else the time.
    pub fn naming(&self, now: Timestamp) -> Result<Naming, EngineError> {
        if !self.release_path.is_absolute() {
            let path = self.release_path.display();
            return Err(EngineError::InvalidRequest(format!(
                "releasePath must be an absolute path, not {path}"
            )));
        }
        let revision = self.revision.as_deref().filter(|revision| !revision.is_empty());
        let id = match (&self.release_id, revision) {
            (Some(id), _) => check_id(id)?,
            (None, Some(revision)) => id_from(revision, now),
            (None, None) => now.to_release_id(),
        };
        let revision = revision.unwrap_or(&id).to_owned();
        Ok(Naming { id, revision })
    }
}

fn is_id_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

/// Whether this may be a release's id.
///
/// # Errors
///
/// It may not; the message says which ids are allowed.
pub fn check_id(id: &str) -> Result<String, EngineError> {
    let fits = id.starts_with(|first: char| first.is_ascii_alphanumeric())
        && id.chars().all(is_id_character)
        && id.len() <= LONGEST_ID;
    match fits {
        true => Ok(id.to_owned()),
        false => Err(EngineError::InvalidRequest(format!(
            "release id {id:?} is not allowed: begin with a letter or digit, go on with letters, digits, \".\", \"_\" \
             or \"-\", and use at most {LONGEST_ID} characters"
        ))),
    }
}

fn id_from(revision: &str, now: Timestamp) -> String {
    let fitting = |character| {
        if is_id_character(character) {
            character
        } else {
            '-'
        }
    };
    let id: String = revision.chars().map(fitting).take(LONGEST_ID).collect();
    let id = id.trim_start_matches(|first: char| !first.is_ascii_alphanumeric());
    if id.is_empty() {
        now.to_release_id()
    } else {
        id.to_owned()
    }
}

/// Follows the links of a release path once and for all, and makes sure it is a folder.
pub fn pin(release_path: &Path) -> Result<PathBuf, String> {
    let pinned = std::fs::canonicalize(release_path).map_err(|error| plain(&error))?;
    match pinned.is_dir() {
        true => Ok(pinned),
        false => Err("it is not a directory".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: Option<&str>, revision: Option<&str>) -> Result<(String, String), EngineError> {
        let request = DeployRequest {
            release_path: "/srv/app/1".into(),
            release_id: id.map(str::to_owned),
            revision: revision.map(str::to_owned),
            wait: false,
        };
        request
            .naming(Timestamp::EPOCH)
            .map(|naming| (naming.id, naming.revision))
    }

    #[test]
    fn the_id_comes_from_what_is_given() {
        let long = "a".repeat(300);
        let table = [
            (Some("v1"), None, ("v1", "v1")),
            (Some("v1"), Some("abc"), ("v1", "abc")),
            (None, Some("abc123"), ("abc123", "abc123")),
            (None, Some("feature/x y"), ("feature-x-y", "feature/x y")),
            (None, Some("../up"), ("up", "../up")),
            (None, Some("///"), ("19700101000000000", "///")),
            (None, Some(""), ("19700101000000000", "19700101000000000")),
            (None, None, ("19700101000000000", "19700101000000000")),
            (None, Some(long.as_str()), (&long[..200], long.as_str())),
        ];
        for (id, revision, (expected_id, expected_revision)) in table {
            let expected = (expected_id.to_owned(), expected_revision.to_owned());
            assert_eq!(named(id, revision), Ok(expected), "{id:?} {revision:?}");
        }
    }

    #[test]
    fn a_bad_id_is_refused_with_the_rule() {
        let too_long = "a".repeat(201);
        for id in ["", ".", "-x", "a/b", "a b", "ä", "a\nb", &too_long] {
            let error = named(Some(id), None).expect_err(id);
            assert!(
                error.to_string().contains("begin with a letter or digit"),
                "{error}"
            );
        }
        assert!(named(Some(&"a".repeat(200)), None).is_ok());
    }

    #[test]
    fn a_relative_path_is_refused() {
        let request = DeployRequest {
            release_path: "app".into(),
            release_id: None,
            revision: None,
            wait: false,
        };
        assert!(request.naming(Timestamp::EPOCH).is_err());
    }
}
