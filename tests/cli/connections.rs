//! `connections`: what is open, and the end of one of them.

use serde_json::{Value, json};

use crate::stage::{Daemon, Setup, wait_for, wait_until};

fn listed(daemon: &Daemon, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = ["connections", "--json"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let output = daemon.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    list.as_array().expect("a list").clone()
}

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn it_says_what_a_release_waits_for() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    assert_eq!(text(&daemon.run(&["connections"])), "no connection is open\n");
    let done = daemon.folder().join("done");
    let mut request = daemon.wire();
    request.ask(&format!("/until?file={}", done.display()));
    let head = request.head();
    assert_eq!(request.chunk().as_deref(), Some("begun "));
    // Between two requests a connection is not in use.
    let mut resting = daemon.wire();
    resting.get("/");
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    assert!(tunnel.echoes("hello"));
    daemon.deploy("v2").succeeds();

    let open = listed(&daemon, &["--release", "v1"]);
    assert_eq!(open.len(), 2, "{open:#?}");
    let (http, websocket) = (&open[0], &open[1]);
    assert_eq!(
        (&http["kind"], &http["method"], &http["path"]),
        (&"http".into(), &"GET".into(), &"/until".into())
    );
    assert_eq!(
        (&websocket["kind"], &websocket["path"]),
        (&"websocket".into(), &"/echo".into())
    );
    for one in [http, websocket] {
        assert_eq!((&one["releaseId"], &one["instance"]), (&"v1".into(), &1.into()));
        assert!(
            one["client"]
                .as_str()
                .is_some_and(|client| client.starts_with("127.0.0.1:")),
            "{one}"
        );
        assert!(one["ageMs"].is_u64(), "{one}");
        let bytes = |field: &str| one[field].as_u64().expect("a figure");
        assert!(bytes("bytesIn") > 20 && bytes("bytesOut") > 5, "{one}");
    }
    assert!(listed(&daemon, &["--release", "v2"]).is_empty());
    let table = text(&daemon.run(&["connections"]));
    assert!(table.starts_with("NUMBER  RELEASE  KIND"), "{table}");
    assert!(table.contains("GET /until"), "{table}");

    let before = websocket["bytesIn"].as_u64().expect("a figure");
    assert!(tunnel.echoes(&"x".repeat(999)));
    let after = listed(&daemon, &[])[1]["bytesIn"].as_u64().expect("a figure");
    assert_eq!(after, before + 1000);

    let number = websocket["number"].to_string();
    let output = daemon.run(&["connections", "--close", &number]);
    assert_eq!(text(&output), format!("closed connection {number}\n"));
    assert!(tunnel.is_cut());
    wait_until("only the request is left", || listed(&daemon, &[]).len() == 1);
    let counts = daemon.release("v1")["connections"].clone();
    assert_eq!(counts, json!({ "http": 1, "websocket": 0 }));
    std::fs::write(&done, "").expect("the folder is ours");
    assert_eq!(request.body(&head).as_deref(), Some("v1"));
    daemon.wait_for_state("v1", "stopped");
    assert!(listed(&daemon, &[]).is_empty());
    assert_eq!(resting.get("/").body, "v2");
}

#[test]
fn a_request_can_be_cut_and_the_next_one_is_served() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let mut request = daemon.wire();
    request.ask("/until?file=/no/such/file");
    request.head();
    let number = wait_for("the request", || {
        listed(&daemon, &[]).first().map(|one| one["number"].to_string())
    });
    let cut = listed(&daemon, &["--close", &number]);
    assert_eq!(cut[0]["path"], "/until");
    assert!(request.is_cut());
    wait_until("nothing is open", || daemon.release("v1")["connectionCount"] == 0);
    assert_eq!(daemon.get("/").body, "v1");
}

#[test]
fn what_is_not_there_is_said() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    for (arguments, code, words) in [
        (
            vec!["connections", "--close", "77"],
            1,
            "no open connection has the number 77; rollbridge connections lists",
        ),
        (
            vec!["connections", "--release", "v9"],
            1,
            "no release \"v9\" is known; known releases: v1",
        ),
        (vec!["connections", "--close", "x"], 2, "invalid value 'x'"),
    ] {
        let output = daemon.run(&arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(words), "{said}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}
