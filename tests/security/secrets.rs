//! Where the value of an `env` must never be seen.

use serde_json::json;

use crate::place::{Place, has_users, wait_until};

const SECRET: &str = "correct-horse-battery";

#[test]
fn a_secret_is_in_no_status_state_event_message_or_process_list() {
    if !has_users() {
        return;
    }
    let place = Place::new();
    let state = place.own("state.json");
    let process = |id: &str, policy: &str, command: &str| json!({ "id": id, "policy": policy, "command": command, "env": { "PASSWORD": SECRET }, "restartDelayMs": 50 });
    let mut web = process("web", "proxied", "exec sleep 1000");
    web["port"] = json!({ "from": 21_000, "to": 21_900 });
    web["health"] = json!(false);
    let mut missing = process("missing", "companion", "exec sleep 1000");
    missing["cwd"] = json!("nowhere");
    let crashing = process("crashing", "service", "exit 3");
    place.write_config(&json!({ "statePath": state, "processes": [web, crashing] }));
    place.start();
    let release = place.own("release");
    let deploy = [
        "deploy",
        "--release-path",
        release.to_str().unwrap(),
        "--release-id",
        "v1",
    ];
    let mut outputs = vec![place.rollbridge(&deploy).output().unwrap()];
    assert!(outputs[0].status.success(), "{outputs:?}");
    wait_until("the service has crashed", || {
        place.log().contains("process restart scheduled")
    });
    // A config in which nothing works, with a secret in each message that could quote it.
    let mut invalid = process("web", "proxied", "exec sleep {{unknown}}");
    invalid["env"] = json!({ "PASSWORD": format!("{SECRET}{{{{unknown}}}}"), "OTHER": [SECRET] });
    for processes in [json!([invalid]), json!([web, missing, crashing])] {
        place.write_config(&json!({ "statePath": state, "processes": processes }));
        let again = [
            "deploy",
            "--release-path",
            release.to_str().unwrap(),
            "--release-id",
            "v2",
        ];
        let output = place.rollbridge(&again).output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        outputs.push(output);
        outputs.push(place.rollbridge(&["validate"]).output().unwrap());
        outputs.push(place.rollbridge(&["doctor"]).output().unwrap());
    }
    for command in [
        &["status"][..],
        &["events", "--json"],
        &["ps"],
        &["connections", "--json"],
        &["logs", "--json"],
    ] {
        outputs.push(place.rollbridge(command).output().unwrap());
    }
    for output in &outputs {
        let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        assert!(
            !String::from_utf8_lossy(&said).contains(SECRET),
            "{}",
            String::from_utf8_lossy(&said)
        );
    }
    assert!(!place.log().contains(SECRET), "{}", place.log());
    assert!(!std::fs::read_to_string(&state).unwrap().contains(SECRET));
    let list = place
        .intrude("ps -eo args; for one in /proc/[0-9]*; do cat $one/environ $one/cmdline; done 2>/dev/null");
    assert!(!String::from_utf8_lossy(&list.stdout).contains(SECRET));
}
