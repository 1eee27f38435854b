//! What a running daemon cannot take over from a changed config.

use super::types::{Config, Policy, ProcessDefinition};
use crate::error::ErrorCode;

/// The new config changes something that is fixed for the daemon's life.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a running daemon cannot change {}; put the old values back, or shut the daemon down and start it again",
    .fields.join(", ")
)]
pub struct ReloadIncompatible {
    /// The fields in question: `proxy.port`, `processes ("beacon").port`.
    pub fields: Vec<String>,
}

impl ReloadIncompatible {
    /// The code for programs.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::ReloadIncompatible
    }
}

/// Checks that a daemon running with `old` may go on with `new`.
///
/// # Errors
///
/// Every field that would have to change while the daemon runs.
pub fn check_reload(old: &Config, new: &Config) -> Result<(), ReloadIncompatible> {
    let of_daemon = [
        ("application", old.application == new.application),
        ("control.path", old.control.path == new.control.path),
        ("control.mode", old.control.mode == new.control.mode),
        ("control.owner", old.control.owner == new.control.owner),
        ("control.group", old.control.group == new.control.group),
        ("statePath", old.state_path == new.state_path),
        ("proxy.host", old.proxy.host == new.proxy.host),
        ("proxy.port", old.proxy.port == new.proxy.port),
        (
            "proxy.upstreamHost",
            old.proxy.upstream_host == new.proxy.upstream_host,
        ),
    ];
    let mut fields: Vec<String> = of_daemon
        .into_iter()
        .filter(|(_, is_same)| !is_same)
        .map(|(name, _)| name.to_owned())
        .collect();
    for process in &old.processes {
        if matches!(process.policy, Policy::Service | Policy::Singleton) {
            fields.extend(fixed_fields(process, new.process(&process.id)));
        }
    }
    if fields.is_empty() {
        Ok(())
    } else {
        Err(ReloadIncompatible { fields })
    }
}

fn fixed_fields(old: &ProcessDefinition, new: Option<&ProcessDefinition>) -> Vec<String> {
    let name = format!("processes ({:?})", old.id);
    let Some(new) = new else {
        return vec![format!("{name} (removed)")];
    };
    [
        ("policy", old.policy == new.policy),
        ("deployStrategy", old.deploy_strategy == new.deploy_strategy),
        ("port", old.port == new.port),
    ]
    .into_iter()
    .filter(|(_, is_same)| !is_same)
    .map(|(field, _)| format!("{name}.{field}"))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::types::{DeployStrategy, PortSpec};
    use super::*;
    use crate::config::tests::example;
    use std::time::Duration;

    fn fields(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let old = example();
        let mut new = example();
        change(&mut new);
        check_reload(&old, &new)
            .err()
            .map(|error| error.fields)
            .unwrap_or_default()
    }

    fn named<'a>(config: &'a mut Config, id: &str) -> &'a mut ProcessDefinition {
        config
            .processes
            .iter_mut()
            .find(|process| process.id == id)
            .expect("it is in the example")
    }

    #[test]
    fn most_things_are_live() {
        assert!(fields(|_| {}).is_empty());
        assert!(fields(|config| config.proxy.drain_timeout = Duration::ZERO).is_empty());
        assert!(
            fields(|config| config
                .processes
                .retain(|process| process.policy != Policy::Companion))
            .is_empty()
        );
        assert!(
            fields(|config| named(config, "web").port = Some(PortSpec::Range { from: 1, to: 2 })).is_empty()
        );
        let added = ProcessDefinition {
            id: "new".to_owned(),
            ..named(&mut example(), "background-jobs-main").clone()
        };
        assert!(fields(|config| config.processes.push(added)).is_empty());
        assert!(fields(|config| named(config, "background-jobs-main").command.push('x')).is_empty());
    }

    #[test]
    fn what_is_not_live_is_named() {
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 13] = [
            ("application", |config| config.application.push('x')),
            ("control.path", |config| config.control.path.push("x")),
            ("control.mode", |config| config.control.mode = Some(0o600)),
            ("control.owner", |config| {
                config.control.owner = Some(crate::config::Principal::Id(0))
            }),
            ("control.group", |config| {
                config.control.group = Some(crate::config::Principal::Id(0))
            }),
            ("statePath", |config| config.state_path = Some("/x".into())),
            ("proxy.host", |config| config.proxy.host.push('x')),
            ("proxy.port", |config| config.proxy.port = 1),
            ("proxy.upstreamHost", |config| {
                config.proxy.upstream_host.push('x')
            }),
            ("processes (\"background-jobs-main\").policy", |config| {
                named(config, "background-jobs-main").policy = Policy::Singleton;
            }),
            ("processes (\"background-jobs-main\").deployStrategy", |config| {
                named(config, "background-jobs-main").deploy_strategy = DeployStrategy::Handoff;
            }),
            ("processes (\"background-jobs-main\").port", |config| {
                named(config, "background-jobs-main").port = Some(PortSpec::Fixed(7331));
            }),
            ("processes (\"background-jobs-main\") (removed)", |config| {
                config
                    .processes
                    .retain(|process| process.policy != Policy::Service);
            }),
        ];
        for (field, change) in cases {
            assert_eq!(fields(change), [field]);
        }
        let error = ReloadIncompatible {
            fields: vec!["proxy.port".to_owned(), "statePath".to_owned()],
        };
        assert!(error.to_string().contains("proxy.port, statePath"), "{error}");
        assert_eq!(error.code(), ErrorCode::ReloadIncompatible);
    }
}
