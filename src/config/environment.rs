//! The environment of a managed process: the daemon's, then what Rollbridge injects, then what the process asks for. Only
//! the token stands above that: by it the process is found.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::template::Variables;

/// Variables of the daemon that mean the daemon alone and never reach a process.
const REMOVED: &[&str] = &["NOTIFY_SOCKET", "ROLLBRIDGE_NODE", "ROLLBRIDGE_BINARY"];

/// The same by beginning.
const REMOVED_PREFIXES: &[&str] = &["LISTEN_", "WATCHDOG_"];

/// The environment with which a process starts.
///
/// `instance` is the token that marks what belongs to the process; `own` are the rendered variables of its definition.
pub fn process_environment(
    variables: &Variables,
    instance: &str,
    own: &BTreeMap<String, String>,
) -> BTreeMap<OsString, OsString> {
    let inherited = variables
        .daemon_environment
        .iter()
        .filter(|(name, _)| !is_removed(name));
    let mut environment: BTreeMap<_, _> = inherited
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    environment.extend(injected(variables));
    environment.extend(own.iter().map(|(name, value)| (name.into(), value.into())));
    environment.insert("ROLLBRIDGE_INSTANCE".into(), instance.into());
    environment
}

/// The variable that carries the port of the process with this id: `ROLLBRIDGE_<ID>_PORT`.
pub fn port_variable(id: &str) -> String {
    let mut name = String::new();
    for character in id.to_uppercase().chars() {
        match character {
            'A'..='Z' | '0'..='9' => name.push(character),
            _ if name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    format!("ROLLBRIDGE_{name}_PORT")
}

fn injected(variables: &Variables) -> Vec<(OsString, OsString)> {
    let mut injected: Vec<(OsString, OsString)> = variables
        .ports
        .iter()
        .map(|(id, port)| (port_variable(id).into(), port.to_string().into()))
        .collect();
    let fixed: [(&str, &OsStr); 5] = [
        ("ROLLBRIDGE_APPLICATION", variables.application.as_ref()),
        ("ROLLBRIDGE_PROCESS_ID", variables.process_id.as_ref()),
        ("ROLLBRIDGE_RELEASE_ID", variables.release_id.as_ref()),
        ("ROLLBRIDGE_RELEASE_PATH", variables.release_path.as_ref()),
        ("ROLLBRIDGE_REVISION", variables.revision_or_release_id().as_ref()),
    ];
    injected.extend(fixed.map(|(name, value)| (name.into(), value.to_owned())));
    injected.push((
        "ROLLBRIDGE_REPLICA_INDEX".into(),
        variables.replica_index.to_string().into(),
    ));
    injected.push((
        "ROLLBRIDGE_REPLICA_COUNT".into(),
        variables.replica_count.to_string().into(),
    ));
    injected.extend(
        variables
            .port
            .map(|port| ("ROLLBRIDGE_PORT".into(), port.to_string().into())),
    );
    injected
}

fn is_removed(name: &OsStr) -> bool {
    // A name that is not UTF-8 is none of these.
    name.to_str().is_some_and(|name| {
        REMOVED.contains(&name) || REMOVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    })
}

#[cfg(test)]
mod tests {
    use super::super::template::tests::variables;
    use super::*;
    use std::sync::Arc;

    fn with_daemon(pairs: &[(&str, &str)]) -> Variables {
        let daemon = pairs
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Variables {
            daemon_environment: Arc::new(daemon),
            ..variables()
        }
    }

    #[test]
    fn later_layers_win() {
        let variables = with_daemon(&[("PATH", "/bin"), ("LANG", "C"), ("ROLLBRIDGE_PORT", "1")]);
        let own = BTreeMap::from([
            ("LANG".to_owned(), "de".to_owned()),
            ("ROLLBRIDGE_REVISION".to_owned(), "mine".to_owned()),
        ]);
        let environment = process_environment(&variables, "token", &own);
        let expected = [
            ("LANG", "de"),
            ("PATH", "/bin"),
            ("ROLLBRIDGE_API_V2_PORT", "9000"),
            ("ROLLBRIDGE_APPLICATION", "ticket-server"),
            ("ROLLBRIDGE_INSTANCE", "token"),
            ("ROLLBRIDGE_PORT", "18182"),
            ("ROLLBRIDGE_PROCESS_ID", "web"),
            ("ROLLBRIDGE_RELEASE_ID", "v1"),
            ("ROLLBRIDGE_RELEASE_PATH", "/srv/releases/v1"),
            ("ROLLBRIDGE_REPLICA_COUNT", "4"),
            ("ROLLBRIDGE_REPLICA_INDEX", "1"),
            ("ROLLBRIDGE_REVISION", "mine"),
            ("ROLLBRIDGE_WEB_PORT", "18182"),
        ];
        let expected: BTreeMap<OsString, OsString> = expected
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        assert_eq!(environment, expected);
    }

    #[test]
    fn the_token_is_not_for_a_process_to_choose() {
        let variables = with_daemon(&[("ROLLBRIDGE_INSTANCE", "the daemon's own")]);
        let own = BTreeMap::from([("ROLLBRIDGE_INSTANCE".to_owned(), "mine".to_owned())]);
        let environment = process_environment(&variables, "token", &own);
        assert_eq!(
            environment.get(OsStr::new("ROLLBRIDGE_INSTANCE")),
            Some(&"token".into())
        );
    }

    #[test]
    fn what_concerns_the_daemon_alone_is_removed() {
        let removed = [
            "NOTIFY_SOCKET",
            "LISTEN_FDS",
            "LISTEN_PID",
            "LISTEN_FDNAMES",
            "WATCHDOG_USEC",
            "WATCHDOG_PID",
            "ROLLBRIDGE_NODE",
            "ROLLBRIDGE_BINARY",
        ];
        let pairs = removed.map(|name| (name, "x"));
        let environment = process_environment(&with_daemon(&pairs), "token", &BTreeMap::new());
        for name in removed {
            assert!(!environment.contains_key(OsStr::new(name)), "{name}");
        }
        let own = BTreeMap::from([("NOTIFY_SOCKET".to_owned(), "wanted".to_owned())]);
        let environment = process_environment(&with_daemon(&pairs), "token", &own);
        assert_eq!(
            environment.get(OsStr::new("NOTIFY_SOCKET")),
            Some(&"wanted".into())
        );
    }

    #[test]
    fn a_process_without_a_port_gets_none() {
        let mut variables = with_daemon(&[]);
        variables.port = None;
        assert!(
            !process_environment(&variables, "t", &BTreeMap::new())
                .contains_key(OsStr::new("ROLLBRIDGE_PORT"))
        );
    }

    #[test]
    fn ids_become_names() {
        let cases = [
            ("web", "ROLLBRIDGE_WEB_PORT"),
            ("background-jobs.main", "ROLLBRIDGE_BACKGROUND_JOBS_MAIN_PORT"),
            ("a -- b__c", "ROLLBRIDGE_A_B_C_PORT"),
            ("größe2", "ROLLBRIDGE_GR_SSE2_PORT"),
        ];
        for (id, name) in cases {
            assert_eq!(port_variable(id), name);
        }
    }
}
