//! Texts that a deploy brings along: ids, revisions and paths. None of them becomes a header, a line, or a command.

use std::os::unix::process::CommandExt;

use serde_json::{Value, json};

use crate::place::{Place, VICTIM, has_users, wait_until};

fn deploy(place: &Place, path: &str, more: &[&str]) -> std::process::Output {
    let mut arguments = vec!["deploy", "--release-path", path];
    arguments.extend(more);
    place.rollbridge(&arguments).output().unwrap()
}

#[test]
fn an_id_is_made_of_harmless_characters() {
    if !has_users() {
        return;
    }
    let place = Place::new();
    place.start();
    let path = place.own("release").display().to_string();
    for id in [
        "a\r\nx-injected: 1",
        "a b",
        "../a",
        "$(id)",
        "",
        "-a",
        "ä",
        "\u{1b}[31m",
    ] {
        let output = deploy(&place, &path, &[&format!("--release-id={id}")]);
        assert!(!output.status.success(), "{id:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("is not allowed") || said.contains("release id"),
            "{id:?}: {said}"
        );
        assert!(
            !said.contains('\u{1b}'),
            "an escape reaches the terminal: {said:?}"
        );
    }
}

#[test]
fn a_revision_is_a_value_for_the_environment_and_text_in_a_command() {
    if !has_users() {
        return;
    }
    let place = Place::new();
    let quoted = json!({
        "id": "quoted", "policy": "companion",
        "command": "printf '%s' \"$ROLLBRIDGE_REVISION|$MINE\" > ../quoted; exec sleep 1000",
        "env": { "MINE": "{{revision}}" },
    });
    let filled = json!({ "id": "filled", "policy": "companion", "command": "echo {{revision}} > ../filled; exec sleep 1000" });
    let web = json!({
        "id": "web", "policy": "proxied", "command": "exec sleep 1000", "health": false,
        "port": { "from": 21_000, "to": 21_900 },
    });
    place.write_config(&json!({ "processes": [web, quoted, filled] }));
    place.start();
    let path = place.own("release").display().to_string();
    let revision = "it's \"$(echo run)\" `echo run` {{port}}\n;\tä";
    let output = deploy(
        &place,
        &path,
        &["--release-id=v1", &format!("--revision={revision}")],
    );
    // In an environment it is what it is. In a command it is text for the shell, as the documentation says: this one is not
    // even a command.
    wait_until("the first has written", || place.own("quoted").exists());
    wait_until("it is whole", || {
        std::fs::read_to_string(place.own("quoted")).unwrap() == format!("{revision}|{revision}")
    });
    assert!(output.status.success(), "{output:?}");
    let output = deploy(&place, &path, &["--release-id=v2", "--revision=$(echo run)"]);
    assert!(output.status.success(), "{output:?}");
    wait_until("the second has written", || {
        std::fs::read_to_string(place.own("filled")).is_ok_and(|text| text == "run\n")
    });
}

#[test]
fn a_zero_byte_is_refused_with_words() {
    if !has_users() {
        return;
    }
    let place = Place::new();
    place.start();
    let path = place.own("release").display().to_string();
    for request in [
        json!({ "command": "deploy", "releasePath": path, "releaseId": "v1", "revision": "a\0b" }),
        json!({ "command": "deploy", "releasePath": format!("{path}\0"), "releaseId": "v2" }),
    ] {
        let answer = ask(&place, &request);
        assert_eq!(answer["status"], "error", "{answer}");
        assert_ne!(answer["code"], "internal", "{answer}");
    }
    assert_eq!(ask(&place, &json!({ "command": "status" }))["status"], "success");
}

/// As the victim, who alone may.
fn ask(place: &Place, request: &Value) -> Value {
    let script = "const s = require('net').connect(process.argv[1]); s.write(process.argv[2] + '\\n'); \
                  s.on('data', (d) => { process.stdout.write(d); s.end() })";
    let mut node = std::process::Command::new("node");
    node.args(["-e", script])
        .arg(place.shared("shop.sock"))
        .arg(request.to_string());
    let output = node.uid(VICTIM).gid(VICTIM).current_dir("/").output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn a_path_of_odd_characters_is_only_a_path() {
    if !has_users() {
        return;
    }
    let place = Place::new();
    place.start();
    let folder = place.own("re \"lea\nse'; $(touch pwned) \u{1b}[31m");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(VICTIM), Some(VICTIM)).unwrap();
    let output = deploy(&place, folder.to_str().unwrap(), &["--release-id=v1"]);
    assert!(output.status.success(), "{output:?}");
    assert!(!place.own("pwned").exists() && !folder.join("pwned").exists());
    // Each line of the log is one object, whatever is in it.
    for line in place.log().lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    let ps = place.rollbridge(&["ps"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&ps.stdout).contains('\u{1b}'), "{ps:?}");
}
