//! What to do about a deploy or rollback that failed, by its error code.

use serde_json::Value;

use crate::control::client::Line;
use crate::error::ErrorCode;

/// A sentence for whoever reads the error; none where the error itself says enough.
pub(super) fn after(code: ErrorCode, line: &Line) -> Option<String> {
    let text = |field: &str| line.get(field).and_then(Value::as_str);
    // Only a deploy or a rollback has phases.
    text("phase")?;
    let logs = match (text("processId"), text("releaseId")) {
        (Some(process), Some(release)) => format!("rollbridge logs --release {release} --process {process}"),
        _ => "rollbridge logs".to_owned(),
    };
    Some(match code {
        ErrorCode::InvalidConfig | ErrorCode::ConfigUnreadable => {
            "correct the config, check it with rollbridge validate, and deploy again".to_owned()
        }
        ErrorCode::ReloadIncompatible => {
            "undo these changes and deploy again, or end the daemon with rollbridge shutdown and start it with the new \
             config"
                .to_owned()
        }
        ErrorCode::ReleasePathMissing => {
            "prepare the release, check it with rollbridge doctor --release-path <folder>, and deploy again".to_owned()
        }
        ErrorCode::PortExhausted => {
            "see with rollbridge ps who has the ports, widen the range in the config, and deploy again".to_owned()
        }
        ErrorCode::SpawnFailed => {
            "check the release with rollbridge doctor --release-path <folder>, and deploy again".to_owned()
        }
        ErrorCode::ProcessExited | ErrorCode::HealthTimeout => {
            format!("see with {logs} all that it wrote, put it right, and deploy again")
        }
        ErrorCode::PostSwitchFailed => {
            format!("see with {logs} what it wrote; rollbridge restart tries it again, rollbridge rollback goes back")
        }
        ErrorCode::DeployCancelled => "deploy again when it is wanted".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_has_a_phase_has_a_next_step() {
        let line = json!({ "phase": "health", "processId": "web", "releaseId": "v2" });
        let line = line.as_object().expect("an object");
        assert_eq!(
            after(ErrorCode::HealthTimeout, line).as_deref(),
            Some(
                "see with rollbridge logs --release v2 --process web all that it wrote, put it right, and deploy again"
            )
        );
        assert_eq!(after(ErrorCode::Internal, line), None);
        assert_eq!(after(ErrorCode::HealthTimeout, &Line::new()), None);
    }
}
