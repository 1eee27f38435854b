//! What a process is given: templates filled in, variables injected, and nothing of what must not reach it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Daemon, Process, Setup, wait_for};

/// The environment of a process that prints it and then says `end`.
fn environment(daemon: &Daemon, id: &str) -> BTreeMap<String, String> {
    let lines = wait_for("the environment is printed", || {
        let logs = daemon.process("v1", id)["logs"].clone();
        let lines: Vec<String> = logs.as_array()?.iter().map(text).collect();
        lines.contains(&"end".to_owned()).then_some(lines)
    });
    let pairs = lines.iter().filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn text(line: &Value) -> String {
    line["line"].as_str().expect("a line").to_owned()
}

fn printing(id: &str) -> Process {
    Process::companion(id)
        .running("env; echo end; exec sleep 1000")
        .set("outputLines", 500)
}

#[test]
fn a_process_finds_itself_described_in_its_environment() {
    let setup = Setup::with_idle_web()
        .env("ROLLBRIDGE_BINARY", "/somewhere")
        .env("NOTIFY_SOCKET", "/run/notify")
        .env("LISTEN_FDS", "1")
        .env("WATCHDOG_USEC", "1")
        .env("KEPT", "as it is");
    let (worker_port, web_port) = (setup.spare_port(1), setup.port(0));
    let worker = printing("mail.worker")
        .set("port", worker_port)
        .env("OWN", "mine");
    let daemon = setup.process(worker).start();
    let mut request = daemon.deploy_request("v1");
    request["revision"] = "abc123".into();
    daemon.ask(request).succeeds();

    let folder = daemon.release_folder("v1");
    let environment = environment(&daemon, "mail.worker");
    let expected = [
        ("ROLLBRIDGE_APPLICATION", "shop".to_owned()),
        ("ROLLBRIDGE_PROCESS_ID", "mail.worker".to_owned()),
        ("ROLLBRIDGE_RELEASE_ID", "v1".to_owned()),
        ("ROLLBRIDGE_RELEASE_PATH", folder.display().to_string()),
        ("ROLLBRIDGE_REVISION", "abc123".to_owned()),
        ("ROLLBRIDGE_REPLICA_INDEX", "0".to_owned()),
        ("ROLLBRIDGE_REPLICA_COUNT", "1".to_owned()),
        ("ROLLBRIDGE_PORT", worker_port.to_string()),
        ("ROLLBRIDGE_MAIL_WORKER_PORT", worker_port.to_string()),
        ("ROLLBRIDGE_WEB_PORT", web_port.to_string()),
        ("KEPT", "as it is".to_owned()),
        ("OWN", "mine".to_owned()),
        ("PWD", folder.display().to_string()),
    ];
    for (name, value) in expected {
        assert_eq!(environment.get(name), Some(&value), "{name}");
    }
    assert!(
        environment
            .get("ROLLBRIDGE_INSTANCE")
            .is_some_and(|token| token.len() >= 16)
    );
    for removed in [
        "ROLLBRIDGE_BINARY",
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "WATCHDOG_USEC",
    ] {
        assert!(!environment.contains_key(removed), "{removed}");
    }
}

#[test]
fn templates_are_filled_in_everywhere() {
    let worker = printing("worker")
        .running("echo command={{application}}/{{releaseId}}/{{ revision }}/{{ports.web}}/{{env.COLOUR}}; env; echo end; exec sleep 1000")
        .set("cwd", "{{releasePath}}/sub-{{processId}}")
        .env("ADDRESS", "http://{{proxy.host}}:{{proxy.port}}/{{proxy.upstreamHost}}")
        .env("UNTOUCHED", "{{ not a name }} {x}");
    let setup = Setup::with_idle_web().env("COLOUR", "green");
    let web_port = setup.port(0);
    let daemon = setup.process(worker).start();
    std::fs::create_dir(daemon.release_folder("v1").join("sub-worker")).expect("a folder");
    daemon.deploy("v1").succeeds();

    let environment = environment(&daemon, "worker");
    let proxy = daemon.proxy_address();
    assert_eq!(environment["command"], format!("shop/v1/v1/{web_port}/green"));
    assert_eq!(environment["ADDRESS"], format!("http://{proxy}/127.0.0.1"));
    assert_eq!(environment["UNTOUCHED"], "{{ not a name }} {x}");
    let cwd = daemon.process("v1", "worker")["cwd"].clone();
    assert_eq!(cwd, environment["PWD"].as_str());
    assert!(environment["PWD"].ends_with("v1/sub-worker"));
}

#[test]
fn a_process_starts_with_a_clean_slate() {
    // The daemon's own signals, descriptors and terminal are none of the app's business.
    let probe = "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls -l /proc/$$/fd; ps -o pid=,pgid=,sess= -p $$; echo end; \
                 exec sleep 1000";
    let worker = Process::companion("worker").running(probe);
    let daemon = Setup::with_idle_web().ignoring("USR1").process(worker).start();
    daemon.deploy("v1").succeeds();
    let lines = wait_for("the probe is printed", || {
        let logs = daemon.process("v1", "worker")["logs"].clone();
        let lines: Vec<String> = logs.as_array()?.iter().map(text).collect();
        lines.contains(&"end".to_owned()).then_some(lines)
    });
    for set in ["SigBlk", "SigIgn"] {
        let line = lines
            .iter()
            .find(|line| line.starts_with(set))
            .expect("a signal set");
        let signals = u64::from_str_radix(line.rsplit('\t').next().expect("a column"), 16);
        // Signals 32 and 33 belong to the C library.
        assert_eq!(signals.expect("a mask") & !(0b11 << 31), 0, "{line}");
    }
    let descriptors: Vec<&String> = lines.iter().filter(|line| line.contains(" -> ")).collect();
    assert_eq!(descriptors.len(), 3, "{lines:#?}");
    assert!(descriptors[0].ends_with("/dev/null"), "{descriptors:#?}");
    let pid = daemon.process("v1", "worker")["pid"].to_string();
    assert!(
        lines
            .iter()
            .any(|line| line.split_whitespace().collect::<Vec<_>>() == [&pid, &pid, &pid]),
        "{lines:#?}"
    );
}
