//! Any value is a config, or a list of what is wrong with it.

use rollbridge::config::{Origin, check_reload, examine_value, summary};
use serde_json::Value;

use crate::run::fuzz;

fn origin() -> Origin {
    Origin {
        folder: "/srv/app".into(),
        application: Some("app".to_owned()),
        path: Some("/srv/app/rollbridge.json".into()),
        shown: "rollbridge.json".to_owned(),
    }
}

#[test]
fn config() {
    fuzz("config", |text, _| {
        let Ok(value) = serde_json::from_slice::<Value>(text) else {
            return Ok(());
        };
        let report = examine_value(&value, &[], &origin());
        let again = examine_value(&value, &[], &origin());
        if report.text() != again.text() {
            return Err("it is judged differently the second time".to_owned());
        }
        if report.json()["valid"] != report.is_valid() {
            return Err("for people and for programs it says different things".to_owned());
        }
        if report
            .issues
            .iter()
            .any(|issue| issue.message.is_empty() || issue.fix.is_empty())
        {
            return Err("an issue without words".to_owned());
        }
        match (&report.config, report.issues.len()) {
            (None, 0) => Err("there is neither a config nor an issue".to_owned()),
            (Some(_), 1..) => Err("there are both a config and issues".to_owned()),
            (None, _) => Ok(()),
            (Some(config), _) => {
                if config
                    .processes
                    .iter()
                    .filter(|one| one.id == config.proxied().id)
                    .count()
                    != 1
                {
                    return Err("two processes have one id".to_owned());
                }
                if summary(config).contains('\n') {
                    return Err("the summary is not one line".to_owned());
                }
                check_reload(config, config)
                    .map_err(|error| format!("it is not compatible with itself: {error}"))
            }
        }
    });
}
