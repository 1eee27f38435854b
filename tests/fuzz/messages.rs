//! What keeper and engine read of each other, in whatever pieces it comes.

use rollbridge::keeper::message::{Inbox, Malformed, ToEngine, ToKeeper, append};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::random::Random;
use crate::run::fuzz;

/// Puts the text into a frame, with a sound one behind it, and reads both in pieces. At times the frame's length is
/// another than the text's.
fn read_in_frames<M: DeserializeOwned + Serialize>(
    text: &[u8],
    after: &Value,
    random: &mut Random,
) -> Result<(), String> {
    let mut bytes = u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
    let is_sound = !random.chance(20);
    if !is_sound {
        bytes = random.next().to_le_bytes()[..4].to_vec();
    }
    bytes.extend_from_slice(text);
    append(after, &mut bytes);
    let mut inbox = Inbox::default();
    let mut read: Vec<Result<Value, Malformed>> = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(1 + random.below(rest.len()));
        inbox.push(piece);
        rest = more;
        while let Some(message) = inbox.take::<M>() {
            let is_last = matches!(message, Err(Malformed::TooLong(_)));
            read.push(message.map(|message| serde_json::to_value(&message).unwrap()));
            if is_last {
                return if is_sound {
                    Err("a frame of this length is too long".to_owned())
                } else {
                    Ok(())
                };
            }
        }
    }
    if is_sound && (read.len() != 2 || read[1].as_ref() != Ok(after)) {
        return Err(format!("the message behind it is lost: {read:?}"));
    }
    // What was understood says the same when it is said again.
    for value in read.into_iter().flatten() {
        let again: M =
            serde_json::from_value(value.clone()).map_err(|error| format!("not again: {error}"))?;
        if serde_json::to_value(&again).unwrap() != value {
            return Err(format!("it changes when it is said again: {value}"));
        }
    }
    Ok(())
}

#[test]
fn keeper() {
    let after = serde_json::json!({ "kind": "forget", "child": 9 });
    fuzz("keeper", |text, random| {
        read_in_frames::<ToKeeper>(text, &after, random)
    });
}

#[test]
fn engine() {
    let after = serde_json::json!({ "kind": "silent", "child": 9 });
    fuzz("engine", |text, random| {
        read_in_frames::<ToEngine>(text, &after, random)
    });
}
