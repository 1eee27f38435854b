//! Paths and other texts of the system as JSON: a string where they are text, else their bytes.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OsText {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<&OsStr> for OsText {
    fn from(text: &OsStr) -> OsText {
        match text.to_str() {
            Some(text) => OsText::Text(text.to_owned()),
            None => OsText::Bytes(text.as_bytes().to_vec()),
        }
    }
}

impl From<OsText> for OsString {
    fn from(text: OsText) -> OsString {
        match text {
            OsText::Text(text) => text.into(),
            OsText::Bytes(bytes) => OsString::from_vec(bytes),
        }
    }
}

/// For a field that is a path.
pub(crate) fn serialize<S: Serializer>(path: impl AsRef<OsStr>, serializer: S) -> Result<S::Ok, S::Error> {
    OsText::from(path.as_ref()).serialize(serializer)
}

/// The other way round.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    OsText::deserialize(deserializer).map(|text| OsString::from(text).into())
}

/// For a field that may have no path.
pub(crate) mod optional {
    use super::{OsStr, OsString, OsText, PathBuf};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        let text = path
            .as_ref()
            .map(|path| OsText::from(AsRef::<OsStr>::as_ref(path)));
        text.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        let text = Option::<OsText>::deserialize(deserializer)?;
        Ok(text.map(|text| OsString::from(text).into()))
    }
}

/// For an environment.
pub(crate) mod pairs {
    use super::{OsString, OsText};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        pairs: &[(OsString, OsString)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let texts = pairs
            .iter()
            .map(|(name, value)| (OsText::from(name.as_os_str()), OsText::from(value.as_os_str())));
        serializer.collect_seq(texts)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(OsString, OsString)>, D::Error> {
        let texts = Vec::<(OsText, OsText)>::deserialize(deserializer)?;
        Ok(texts
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect())
    }
}
