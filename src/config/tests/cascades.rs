//! One mistake gives one issue: what is broken is not complained about twice.

use serde_json::json;

use super::*;

#[test]
fn a_broken_part_silences_the_rules_about_it() {
    let ranged = json!({"from": 18182, "to": 18299});
    let cases = [
        (json!({}), "processes is required"),
        (json!({"processes": null}), "processes is required"),
        (
            json!({"processes": {}}),
            "processes must be a list; got an object",
        ),
        (
            json!({"processes": "web"}),
            "processes must be a list; got \"web\"",
        ),
        (json!({"processes": ["web"]}), "processes[0] must be an object"),
        (
            json!({"processes": [{"id": "web", "policy": "x", "command": "a {{port}}", "port": ranged}]}),
            "processes[0] (\"web\").policy must",
        ),
        (
            json!({"processes": [{"id": "web", "policy": "proxied", "command": "a {{port}}", "port": "x"}]}),
            "processes[0] (\"web\").port must",
        ),
        (
            json!({"processes": [{"id": "web", "policy": "proxied", "command": "a {{ports.web}}", "port": {"from": 1}}]}),
            "processes[0] (\"web\").port.to is required",
        ),
        (
            with_process(json!({"id": 5, "command": "{{ports.api}}", "port": 0})),
            "processes[1].id must",
        ),
        (with(json!({"proxy": 5})), "proxy must"),
        (with(json!({"proxy": {"port": "x"}})), "proxy.port must"),
        (with(json!({"control": {"path": 5}})), "control.path must"),
        (with(json!({"application": ""})), "application must not be empty"),
        (
            with(json!({"legacyTakeover": {"screens": 1}})),
            "legacyTakeover.screens must",
        ),
        (
            with_process(json!({"policy": "service", "deployStrategy": "handoff", "port": "x"})),
            "processes[1] (\"other\").port must",
        ),
        (
            with_process(json!({"lifecycle": {"drainCommand": "x", "drainTimeoutMs": "y"}})),
            "processes[1] (\"other\").lifecycle.drainTimeoutMs must",
        ),
        (
            with_process(json!({"stopSignal": "SIGX", "lifecycle": {"stopCommand": "x"}})),
            "processes[1] (\"other\").stopSignal must",
        ),
        (
            with_process(json!({"memory": {"limitBytes": -1, "warnBytes": 7}})),
            "processes[1] (\"other\").memory.limitBytes must",
        ),
    ];
    for (value, expected) in cases {
        let found = issues(&value);
        assert_eq!(found.len(), 1, "{value} → {found:?}");
        assert!(found[0].starts_with(expected), "{}", found[0]);
    }
}

#[test]
fn values_that_are_not_json_are_issues_with_a_place() {
    let value = json!({"extra": null, "processes": [{
        "id": "web", "policy": "proxied", "command": null, "port": {"from": 18182, "to": 18299}, "env": {"A": null},
    }]});
    let problems: Vec<_> = [
        (json!(["processes", 0, "command"]), "a function"),
        (json!(["processes", 0, "env", "A"]), "a symbol"),
        (json!(["extra"]), "NaN"),
    ]
    .iter()
    .map(|(path, kind)| Problem::at(path.as_array().expect("a path"), kind, &value))
    .collect();
    let (config, verdict) = validate(&value, &problems, &origin());
    let messages: Vec<_> = verdict
        .issues
        .iter()
        .map(|issue| issue.message.as_str())
        .collect();
    let expected = [
        "extra is NaN, which a config cannot hold",
        "processes[0] (\"web\").command is a function, which a config cannot hold",
        "processes[0] (\"web\").env.A is a symbol, which a config cannot hold",
    ];
    assert_eq!(messages, expected);
    assert!(
        verdict.issues[1].fix.contains("command: \""),
        "{}",
        verdict.issues[1].fix
    );
    assert_eq!(config, None);

    let nothing = Problem::at(&[], "nothing", &json!(null));
    let (_, verdict) = validate(&json!(null), &[nothing], &origin());
    assert_eq!(verdict.issues.len(), 1);
    assert!(verdict.issues[0].message.ends_with("the module exports nothing"));
}
