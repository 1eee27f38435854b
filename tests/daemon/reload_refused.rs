//! A config that a running daemon cannot go by: nothing is started, and the old one stays in force.

use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, has_said, pid, send, wait_until};

/// Everything that has a field which is fixed while the daemon runs.
fn everything() -> Setup {
    let setup = Setup::with_idle_web();
    let range = json!({ "from": setup.spare_port(0), "to": setup.spare_port(2) });
    let port = setup.spare_port(3);
    setup
        .process(Process::service("broker").set("port", port))
        .process(
            Process::service("cache")
                .set("deployStrategy", "handoff")
                .set("port", range),
        )
        .process(Process::singleton("scheduler"))
}

fn named<'a>(config: &'a mut Value, id: &str) -> &'a mut Value {
    let processes = config["processes"].as_array_mut().expect("a list");
    processes
        .iter_mut()
        .find(|process| process["id"] == id)
        .expect("it is in the config")
}

fn remove(config: &mut Value, id: &str) {
    let processes = config["processes"].as_array_mut().expect("a list");
    processes.retain(|process| process["id"] != id);
}

type Change = fn(&mut Value);

/// A change that needs a new daemon, and what the error calls it.
const NOT_LIVE: [(&str, Change); 18] = [
    ("application", |config| config["application"] = "other".into()),
    ("control.path", |config| {
        config["control"]["path"] = "tmp/other.sock".into()
    }),
    ("control.mode", |config| config["control"]["mode"] = "600".into()),
    ("control.owner", |config| config["control"]["owner"] = 0.into()),
    ("control.group", |config| config["control"]["group"] = 0.into()),
    ("statePath", |config| config["statePath"] = "state.json".into()),
    ("proxy.host", |config| {
        config["proxy"]["host"] = "127.0.0.2".into();
        config["proxy"]["upstreamHost"] = "127.0.0.1".into();
    }),
    ("proxy.port", |config| config["proxy"]["port"] = 1.into()),
    ("proxy.upstreamHost", |config| {
        config["proxy"]["upstreamHost"] = "127.0.0.2".into()
    }),
    (r#"processes ("broker").policy"#, |config| {
        named(config, "broker")["policy"] = "companion".into()
    }),
    (r#"processes ("broker").port"#, |config| {
        named(config, "broker")["port"] = 0.into()
    }),
    (r#"processes ("broker") (removed)"#, |config| {
        remove(config, "broker")
    }),
    (r#"processes ("cache").deployStrategy"#, |config| {
        named(config, "cache")["deployStrategy"] = "persistent".into();
    }),
    (r#"processes ("cache").port"#, |config| {
        named(config, "cache")["port"]["to"] = 65_535.into()
    }),
    (r#"processes ("cache") (removed)"#, |config| {
        remove(config, "cache")
    }),
    (r#"processes ("scheduler").policy"#, |config| {
        named(config, "scheduler")["policy"] = "service".into()
    }),
    (r#"processes ("scheduler").port"#, |config| {
        named(config, "scheduler")["port"] = 0.into()
    }),
    (r#"processes ("scheduler") (removed)"#, |config| {
        remove(config, "scheduler")
    }),
];

/// Asserts that nothing was started or stopped since `moment`.
fn untouched(daemon: &Daemon, before: &[i32], moment: usize) {
    assert_eq!(daemon.living(), before);
    assert_eq!(daemon.status()["activeReleaseId"], "v1");
    assert_eq!(daemon.release_ids(), ["v1"]);
    let story = daemon.story_since(moment);
    assert!(
        story.iter().all(|line| !line.starts_with("process")),
        "{story:#?}"
    );
}

#[test]
fn every_field_that_is_not_live_is_named() {
    let daemon = everything().start();
    daemon.deploy("v1").succeeds();
    let (before, moment) = (daemon.living(), daemon.moment());
    let good = std::fs::read(daemon.config()).expect("the config is there");
    for (field, change) in NOT_LIVE {
        daemon.edit_config(change);
        let error = daemon.deploy("v2").fails_with("reload_incompatible");
        let message = error["error"].as_str().expect("a message");
        assert!(
            message.contains(&format!("cannot change {field};")),
            "{field}: {message}"
        );
        assert_eq!(
            (&error["phase"], &error["activeReleaseId"]),
            (&"config".into(), &"v1".into())
        );
        std::fs::write(daemon.config(), &good).expect("the folder is ours");
    }
    untouched(&daemon, &before, moment);
    daemon.deploy("v2").succeeds();
}

#[test]
fn several_offences_are_told_at_once() {
    let daemon = everything().start();
    daemon.deploy("v1").succeeds();
    let (before, moment) = (daemon.living(), daemon.moment());
    let all: Vec<&str> = NOT_LIVE
        .iter()
        .map(|(field, _)| *field)
        .filter(|field| !field.starts_with("processes"))
        .collect();
    daemon.edit_config(|config| {
        for (_, change) in NOT_LIVE.iter().filter(|(field, _)| all.contains(field)) {
            change(config);
        }
        // Set last: the host's change sets it too.
        config["proxy"]["upstreamHost"] = "127.0.0.2".into();
        remove(config, "scheduler");
    });
    let error = daemon.deploy("v2").fails_with("reload_incompatible");
    let list = format!("{}, processes (\"scheduler\") (removed);", all.join(", "));
    assert!(
        error["error"].to_string().replace('\\', "").contains(&list),
        "{error}"
    );
    untouched(&daemon, &before, moment);
}

#[test]
fn a_config_that_cannot_be_used_changes_nothing_until_it_is_repaired() {
    let daemon = everything().start();
    daemon.deploy("v1").succeeds();
    daemon.deploy("v2").succeeds();
    daemon.wait_for_state("v1", "stopped");
    let good = std::fs::read_to_string(daemon.config()).expect("the config is there");
    let before = daemon.living();
    let broken: [(&str, &str, &dyn Fn()); 3] = [
        ("config_unreadable", "rollbridge.json", &|| {
            std::fs::remove_file(daemon.config()).expect("it is there")
        }),
        ("config_unreadable", "line 1", &|| {
            std::fs::write(daemon.config(), &good[1..]).expect("the folder is ours")
        }),
        ("invalid_config", "exactly one proxied process; found 0", &|| {
            std::fs::write(daemon.config(), &good).expect("the folder is ours");
            daemon.remove_process("web");
        }),
    ];
    for (code, says, break_it) in broken {
        break_it();
        for answer in [daemon.deploy("v3"), daemon.rollback()] {
            let error = answer.fails_with(code);
            assert!(
                error["error"].as_str().expect("a message").contains(says),
                "{error}"
            );
            assert_eq!(
                (&error["phase"], &error["activeReleaseId"]),
                (&"config".into(), &"v2".into())
            );
        }
    }
    assert_eq!(daemon.living(), before);
    assert_eq!(daemon.release_ids(), ["v1", "v2"]);
    std::fs::write(daemon.config(), &good).expect("the folder is ours");
    daemon.deploy("v3").succeeds();
}

#[test]
fn a_deploy_that_fails_later_leaves_the_old_config_in_force() {
    let worker = "trap 'echo old; exit' TERM; echo ready; while :; do sleep 0.02; done";
    let daemon = Setup::new()
        .process(Process::web().unless_told())
        .process(
            Process::companion("worker")
                .running(worker)
                .set("restartDelayMs", 0),
        )
        .process(Process::service("broker").set("restartDelayMs", 0))
        .start();
    daemon.deploy("v1").succeeds();
    daemon.edit_config(|config| {
        config["proxy"]["maxConnections"] = 1.into();
        named(config, "broker")["command"] = "echo changed; exec sleep 1000".into();
        named(config, "worker")["stopSignal"] = "SIGUSR1".into();
    });
    daemon.tell("v2", "web", "exit 1");
    daemon.deploy("v2").fails_with("process_exited");

    let mut clients = [daemon.wire(), daemon.wire()];
    assert!(clients.iter_mut().all(|client| client.get("/").body == "v1"));
    let broker = pid(&daemon.service("broker"));
    send(broker, nix::sys::signal::Signal::SIGKILL);
    wait_until("the broker is back", || {
        let service = daemon.service("broker");
        service["state"] == "running" && service["pid"] != broker
    });
    assert_eq!(daemon.service("broker")["releaseId"], "v1");
    assert_eq!(daemon.service("broker")["command"], "exec sleep 1000");
    wait_until("the worker is ready", || {
        has_said(&daemon.process("v1", "worker"), "ready")
    });
    daemon.stop().succeeds();
    assert!(
        has_said(&daemon.process("v1", "worker"), "old"),
        "it was stopped by the old signal"
    );
}
