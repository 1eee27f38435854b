//! Events as short lines, so that a test can say in what order things happened.

use serde_json::Value;

/// `process started web v2`: the message, the process if there is one, the release if there is one.
pub fn told(events: &[Value]) -> Vec<String> {
    events.iter().map(line).collect()
}

fn line(event: &Value) -> String {
    let data = |field: &str| event["data"][field].as_str();
    let parts = [event["message"].as_str(), data("processId"), data("releaseId")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Where `wanted` stands in the story; it must stand there exactly once.
pub fn position(story: &[String], wanted: &str) -> usize {
    let mut places = (0..story.len()).filter(|place| story[*place] == wanted);
    let place = places.next();
    assert!(places.next().is_none(), "{wanted:?} more than once in {story:#?}");
    place.unwrap_or_else(|| panic!("{wanted:?} in {story:#?}"))
}
