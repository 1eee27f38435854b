//! The rules over several fields, and the warnings.

use serde_json::json;

use super::*;

#[test]
fn exactly_one_process_is_proxied() {
    let message = |count| format!("Config must define exactly one proxied process; found {count}");
    assert_eq!(issues(&json!({"processes": []})), [message(0)]);
    assert_eq!(
        issues(&json!({"processes": [{"id": "a", "command": "x"}]})),
        [message(0)]
    );
    let second = with_process(json!({"policy": "proxied", "port": {"from": 1, "to": 2}}));
    assert_eq!(issues(&second), [message(2)]);
}

#[test]
fn ids_are_unique() {
    let mut config = with_process(json!({"id": "web"}));
    let report = examine(&config);
    assert_eq!(
        report.issues,
        [Issue {
            message: "Duplicate process id: web".to_owned(),
            fix: "Give each process a unique id; \"web\" is used more than once.".to_owned(),
        }]
    );
    let again = config["processes"][1].clone();
    config["processes"].as_array_mut().expect("a list").push(again);
    assert_eq!(issues(&config), ["Duplicate process id: web"], "once for each id");
}

#[test]
fn rules_about_the_daemon() {
    let long = "x".repeat(107);
    let cases = [
        (
            json!({"control": {"path": format!("/{long}")}}),
            vec!["control.path is 108 bytes"],
        ),
        (json!({"control": {"path": format!("/{}", &long[1..])}}), vec![]),
        (json!({"control": {"path": &long[20..]}}), vec![]),
        (
            json!({"control": {"path": format!("/{}", "é".repeat(54))}}),
            vec!["control.path is 109 bytes"],
        ),
        (json!({"application": long}), vec!["control.path is 128 bytes"]),
        (
            json!({"legacyTakeover": {}}),
            vec!["legacyTakeover names nothing"],
        ),
        (
            json!({"legacyTakeover": {"screens": [], "processes": [null]}}),
            vec!["legacyTakeover names nothing"],
        ),
        (
            json!({"legacyTakeover": {"processes": [{"includes": ["a"]}]}}),
            vec![],
        ),
        (
            json!({"proxy": {"port": 18200}}),
            vec!["proxy.port 18200 lies inside the range 18182 to 18299"],
        ),
        (json!({"proxy": {"port": 18300}}), vec![]),
    ];
    for (fields, expected) in cases {
        let found = issues(&with(fields.clone()));
        assert_eq!(found.len(), expected.len(), "{fields} → {found:?}");
        for (message, beginning) in found.iter().zip(expected) {
            assert!(message.starts_with(beginning), "{message}");
        }
    }
}

/// A process besides the web process, what the issues contain, and what the warnings contain.
type Case = (Value, &'static [&'static str], &'static [&'static str]);

#[test]
fn rules_about_a_process() {
    let hooks_with_braces = json!({"lifecycle": {
        "quietCommand": "{{a", "drainCommand": "{{port}}", "drainTimeoutMs": 1, "stopCommand": "x {{y}}",
    }});
    let cases: Vec<Case> = vec![
        (
            json!({"port": {"from": 5, "to": 4}}),
            &["port is inverted: from is 5 and to is 4"],
            &[],
        ),
        (
            json!({"port": 8182}),
            &["port is 8182, the port of the proxy itself"],
            &["single port"],
        ),
        (
            json!({"port": {"from": 8000, "to": 9000}}),
            &["proxy.port 8182 lies inside"],
            &[],
        ),
        (json!({"port": 0}), &[], &[]),
        (json!({"port": 9000}), &[], &["single port"]),
        (json!({"port": {"from": 9000, "to": 9000}}), &[], &["single port"]),
        (json!({"policy": "service", "port": 9000}), &[], &[]),
        (json!({"policy": "singleton", "port": 9000}), &[], &[]),
        (json!({"replicas": 2}), &[], &[]),
        (
            json!({"replicas": 2, "policy": "service"}),
            &["replicas is above 1, but only a companion"],
            &[],
        ),
        (
            json!({"replicas": 2, "policy": "singleton"}),
            &["replicas is above 1, but only a companion"],
            &[],
        ),
        (
            json!({"replicas": 2, "port": {"from": 1, "to": 9}}),
            &["replicas is above 1, but the process has a port"],
            &[],
        ),
        (json!({"replicas": 1, "policy": "service", "port": 1}), &[], &[]),
        (json!({"nonBlockingDrain": true}), &[], &[]),
        (
            json!({"nonBlockingDrain": true, "policy": "service"}),
            &["nonBlockingDrain is only for companions"],
            &[],
        ),
        (json!({"nonBlockingDrain": false, "policy": "service"}), &[], &[]),
        (
            json!({"deployStrategy": "handoff"}),
            &["deployStrategy is only for services"],
            &[],
        ),
        (
            json!({"deployStrategy": "persistent", "policy": "service"}),
            &[],
            &[],
        ),
        (
            json!({"deployStrategy": "handoff", "policy": "service"}),
            &["needs a range of two or more ports"],
            &[],
        ),
        (
            json!({"deployStrategy": "handoff", "policy": "service", "port": 9}),
            &["needs a range"],
            &[],
        ),
        (
            json!({"deployStrategy": "handoff", "policy": "service", "port": {"from": 9, "to": 9}}),
            &["needs a range"],
            &[],
        ),
        (
            json!({"deployStrategy": "handoff", "policy": "service", "port": {"from": 8, "to": 9}}),
            &[],
            &[],
        ),
        (
            json!({"lifecycle": {"drainCommand": "x"}}),
            &["drainCommand needs a drainTimeoutMs"],
            &[],
        ),
        (
            json!({"lifecycle": {"drainCommand": "x", "drainTimeoutMs": 0}}),
            &["drainCommand needs"],
            &[],
        ),
        (json!({"lifecycle": {"drainTimeoutMs": 5}}), &[], &[]),
        (
            json!({"stopSignal": "SIGINT", "lifecycle": {"stopCommand": "x"}}),
            &["runs instead of stopSignal"],
            &[],
        ),
        (
            json!({"stopSignal": "SIGTERM", "lifecycle": {"stopCommand": "x"}}),
            &[],
            &[],
        ),
        (
            json!({"policy": "singleton", "gracefulStopMs": "indefinite"}),
            &[],
            &["no deploy can finish"],
        ),
        (
            json!({"policy": "companion", "gracefulStopMs": "indefinite"}),
            &[],
            &[],
        ),
        (json!({"health": {"path": "/x"}}), &[], &["health has no effect"]),
        (
            json!({"health": false, "policy": "service"}),
            &[],
            &["health has no effect"],
        ),
        (
            json!({"memory": {"limitBytes": 100, "warnBytes": 100}}),
            &[],
            &["warnBytes is 100, not below"],
        ),
        (json!({"memory": {"limitBytes": 100, "warnBytes": 99}}), &[], &[]),
        (
            hooks_with_braces,
            &[],
            &[
                "quietCommand contains {{",
                "drainCommand contains {{",
                "stopCommand contains {{",
            ],
        ),
    ];
    for (fields, expected_issues, expected_warnings) in cases {
        let config = with_process(fields.clone());
        for (found, expected) in [
            (issues(&config), expected_issues),
            (warnings(&config), expected_warnings),
        ] {
            assert_eq!(found.len(), expected.len(), "{fields} → {found:?}");
            for (message, part) in found.iter().zip(expected) {
                assert!(
                    message.contains(part) && message.contains("processes[1] (\"other\")"),
                    "{message}"
                );
            }
        }
    }
}

#[test]
fn rules_about_the_proxied_process() {
    let mut config = with(json!({}));
    config["processes"][0]
        .as_object_mut()
        .expect("an object")
        .remove("port");
    assert_eq!(
        issues(&config),
        ["processes[0] (\"web\") is proxied and must define a port"]
    );
    assert_eq!(warnings(&with_web(json!({"port": 18182}))).len(), 1);
    assert_eq!(issues(&with_web(json!({"replicas": 2}))).len(), 1);
    assert_eq!(issues(&with_web(json!({"nonBlockingDrain": true}))).len(), 1);
    assert_eq!(
        issues(&with_web(json!({"deployStrategy": "persistent"}))).len(),
        1
    );
    assert_eq!(
        issues(&with_web(json!({"proxy": {}, "port": {"from": 1, "to": 65535}}))).len(),
        1
    );
    let mut any_port = with_web(json!({"port": {"from": 1, "to": 65535}}));
    any_port["proxy"] = json!({"port": 0});
    assert_eq!(issues(&any_port), Vec::<String>::new());
}

#[test]
fn ports_that_collide_are_warned_about() {
    let services = |first: Value, second: Value| {
        let mut config = with_process(json!({"id": "a-b", "policy": "service", "port": first}));
        let second = json!({"id": "a_b", "policy": "service", "command": "x", "port": second});
        config["processes"].as_array_mut().expect("a list").push(second);
        warnings(&config)
    };
    let variable = "processes[1] (\"a-b\") and processes[2] (\"a_b\") share the variable ROLLBRIDGE_A_B_PORT for their ports";
    let port = "processes[2] (\"a_b\").port is 5, the same port as that of processes[1] (\"a-b\")";
    assert_eq!(services(json!(5), json!(5)), [variable, port]);
    assert_eq!(services(json!(5), json!(6)), [variable]);
    assert_eq!(services(json!(0), json!(0)), [variable]);
    assert_eq!(services(json!(5), json!(null)), Vec::<String>::new());
}

#[test]
fn templates_refer_to_what_exists() {
    let cases = [
        (
            json!({"command": "x {{prot}}"}),
            Some("command uses {{prot}}, which is no variable"),
        ),
        (
            json!({"cwd": "{{release_path}}"}),
            Some("cwd uses {{release_path}}, which is no variable"),
        ),
        (
            json!({"env": {"A": "{{nope}}"}}),
            Some("env.A uses {{nope}}, which is no variable"),
        ),
        (
            json!({"command": "{{port}}"}),
            Some("command uses {{port}}, but the process has no port"),
        ),
        (
            json!({"command": "{{ports.wbe}}"}),
            Some("command uses {{ports.wbe}}, but no process has the id \"wbe\""),
        ),
        (
            json!({"command": "{{ports.other}}"}),
            Some("command uses {{ports.other}}, but \"other\" has no port"),
        ),
        (
            json!({"command": "{{ports.web}} {{env.X}} {{ revision }} {{replicaIndex}}"}),
            None,
        ),
        (json!({"command": "{{port}}", "port": 0}), None),
        (json!({"command": "jq '{{a: 1}}' {{}}"}), None),
        (json!({"lifecycle": {"quietCommand": "x"}}), None),
    ];
    for (fields, expected) in cases {
        let expected: Vec<_> = expected
            .iter()
            .map(|text| format!("processes[1] (\"other\").{text}"))
            .collect();
        assert_eq!(issues(&with_process(fields)), expected);
    }
    let fix = |command: &str| {
        examine(&with_process(json!({"command": command}))).issues[0]
            .fix
            .clone()
    };
    assert_eq!(fix("{{prot}}"), "Did you mean {{port}}?");
    assert!(fix("{{ports.wbe}}").contains("{{ports.web}}"));
    assert!(fix("{{xyzzy}}").contains("releasePath"));
}

#[test]
fn an_open_socket_folder_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("own folder");
    let value = with(json!({"control": {"path": folder.path().join("x.sock")}}));
    let report = examine_value(&value, &[], &origin());
    assert!(
        report.is_valid() && report.warnings.len() == 1,
        "{:?}",
        report.warnings
    );
    assert!(report.warnings[0].message.starts_with("control.path is in "));
}
