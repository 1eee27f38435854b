//! The release that a daemon is told to begin with: a boot-time manager knows it before anybody can deploy.

use std::path::{Component, Path, PathBuf};

use super::{DeployRequest, Engine, EngineError, Outgoing};
use crate::release::Progress;

/// What an attestation begins with.
const ATTESTATION_PREFIX: &str = "sha256:";

/// How many digits follow.
const ATTESTATION_DIGITS: usize = 64;

/// The release a daemon begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Its id.
    pub release_id: String,
    /// Its folder, as it was given.
    pub release_path: PathBuf,
    /// Its revision.
    pub revision: String,
    /// What whoever started the daemon wants to find again in its status.
    pub attestation: Option<String>,
}

impl Engine {
    /// Deploys the release that this daemon begins with.
    ///
    /// # Errors
    ///
    /// It did not come up; what was started for it is stopped.
    pub async fn boot(&self, release: &Bootstrap) -> Result<Outgoing, EngineError> {
        // From here on there are processes that a crash of everything would leave over.
        if self.inner.succession.is_none() {
            self.keep_state();
        }
        let request = DeployRequest {
            release_path: release.release_path.clone(),
            release_id: Some(release.release_id.clone()),
            revision: Some(release.revision.clone()),
            wait: false,
        };
        self.deploy(request, Progress::default()).await
    }
}

/// Whether this path may be given for a release that is to be started without anybody to ask: absolute, and with nothing in
/// it that leads elsewhere than it seems.
///
/// # Errors
///
/// It may not; the text says what is wrong and how it should read.
pub fn check_normalised(path: &str) -> Result<PathBuf, String> {
    if !path.starts_with('/') {
        return Err(format!(
            "it must be absolute; give the whole path of the release folder, such as /srv/app/releases/{path}"
        ));
    }
    let normal = normalised(Path::new(path));
    match normal.as_os_str() == path {
        true => Ok(normal),
        false => Err(format!(
            "it must be normalised, without \".\", \"..\", doubled or trailing slashes; give it as {}",
            normal.display()
        )),
    }
}

fn normalised(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            other => normal.push(other),
        }
    }
    normal
}

/// Whether this may be an attestation.
///
/// # Errors
///
/// It may not; the text says what one looks like.
pub fn check_attestation(text: &str) -> Result<String, String> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let digits = text.strip_prefix(ATTESTATION_PREFIX).unwrap_or_default();
    match digits.len() == ATTESTATION_DIGITS && digits.bytes().all(is_digit) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "it must be {ATTESTATION_PREFIX} with {ATTESTATION_DIGITS} lower-case hexadecimal digits behind it, as \
             sha256sum prints them"
        )),
    }
}

/// Whether this may be the revision of a release that is to be started without anybody to ask.
///
/// # Errors
///
/// It is empty.
pub fn check_revision(text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => {
            Err("it must not be empty; give what the release was made from, or its id once more".to_owned())
        }
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_that_leads_where_it_seems_is_taken() {
        for good in ["/", "/srv", "/srv/app/releases/v1", "/srv/..app/v.1"] {
            assert_eq!(check_normalised(good), Ok(good.into()));
        }
        for (bad, advice) in [
            ("", "absolute"),
            ("v1", "such as /srv/app/releases/v1"),
            ("./v1", "absolute"),
            ("/srv/", "give it as /srv"),
            ("/srv//app", "give it as /srv/app"),
            ("/srv/./app", "give it as /srv/app"),
            ("/srv/x/../app", "give it as /srv/app"),
            ("/..", "give it as /"),
        ] {
            let said = check_normalised(bad).expect_err(bad);
            assert!(said.contains(advice), "{bad}: {said}");
        }
    }

    #[test]
    fn an_attestation_is_a_digest() {
        let digits = "0123456789abcdef".repeat(4);
        assert!(check_attestation(&format!("sha256:{digits}")).is_ok());
        for bad in [
            digits.clone(),
            format!("sha256:{}", &digits[1..]),
            format!("sha256:{digits}0"),
            format!("sha256:{}", digits.to_uppercase()),
            format!("sha512:{digits}"),
            String::new(),
        ] {
            assert!(check_attestation(&bad).is_err(), "{bad}");
        }
    }
}
