//! "Did you mean": the known word nearest to a misspelt one.

/// The candidate a reader would take `word` for, if any is near enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.chars().count() > 64 {
        return None;
    }
    let lowered = word.to_lowercase();
    let tolerance = (lowered.chars().count() / 3).clamp(1, 4);
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let similar = candidates
        .iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lowered, &candidate.to_lowercase()),
                *candidate,
            )
        })
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate);
    similar.or_else(|| beginning_alike(&lowered, &candidates))
}

/// The candidate that shares the longest beginning with a word, if that is most of the word.
fn beginning_alike<'a>(lowered: &str, candidates: &[&'a str]) -> Option<&'a str> {
    const SHORTEST: usize = 4;
    let shared = |candidate: &str| -> usize {
        let candidate = candidate.to_lowercase();
        let pairs = lowered.chars().zip(candidate.chars());
        pairs.take_while(|(one, other)| one == other).count()
    };
    let needed = SHORTEST.max(lowered.chars().count() / 2 + 1);
    let alike = candidates.iter().map(|candidate| (shared(candidate), *candidate));
    let alike = alike.filter(|(shared, _)| *shared >= needed);
    alike
        .max_by_key(|(shared, _)| *shared)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["replicas", "restart", "restartDelayMs", "port", "to"];
        let cases = [
            ("replica", Some("replicas")),
            ("Replicas", Some("replicas")),
            ("restartDelay", Some("restartDelayMs")),
            ("restrat", Some("restart")),
            ("prot", Some("port")),
            ("ot", Some("to")),
            ("repl", Some("replicas")),
            ("restartDelaySeconds", Some("restartDelayMs")),
            ("portraits", None),
            ("banana", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(1_000_000), known), None);
    }
}
