//! The texts that a target begins with.

use std::path::Path;

use crate::damage;
use crate::random::Random;

/// All texts of one target.
pub struct Corpus(Vec<Vec<u8>>);

impl Corpus {
    /// Those in the target's folder, each line of a `.lines` file and each other file whole.
    pub fn of(target: &str) -> Corpus {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fuzz/corpus")
            .join(target);
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let mut texts = Vec::new();
        for file in files {
            let content = std::fs::read(&file).unwrap();
            if file.extension().is_some_and(|extension| extension == "lines") {
                texts.extend(content.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
            } else {
                texts.push(content);
            }
        }
        texts.retain(|text| !text.is_empty());
        assert!(!texts.is_empty(), "{} holds nothing", folder.display());
        Corpus(texts)
    }

    pub fn texts(&self) -> &[Vec<u8>] {
        &self.0
    }

    /// One of them, damaged: as JSON where it is JSON, or byte by byte.
    pub fn damaged(&self, random: &mut Random) -> Vec<u8> {
        let text = &self.0[random.below(self.0.len())];
        let other = &self.0[random.below(self.0.len())];
        match (serde_json::from_slice(text), random.chance(70)) {
            (Ok(mut value), true) => {
                for _ in 0..=random.below(4) {
                    damage::value(&mut value, random);
                }
                serde_json::to_vec(&value).unwrap()
            }
            _ => damage::bytes(text.clone(), other, random),
        }
    }
}
