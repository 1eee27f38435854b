//! Log, pid and state files and the copy of the program, where another user can put things first.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;

use crate::place::{INTRUDER, Place, VICTIM, has_users, owner_of, wait_until};

/// What an intruder can put at a path, as a shell command, and what root puts there for an intruder where the system has no
/// protection of its own: a second name of a precious file.
fn traps(place: &Place, path: &Path) -> Vec<String> {
    let (precious, shown) = (place.precious(), path.display());
    vec![
        format!("echo mine > {shown}; chmod 666 {shown}"),
        format!("ln -s {} {shown}", precious.display()),
        format!("mkfifo -m 666 {shown}"),
        format!("mkdir -m 777 {shown}"),
    ]
}

#[test]
fn a_log_that_an_intruder_has_prepared_is_not_written_to() {
    if !has_users() {
        return;
    }
    let place = Place::new();
    let log = place.shared("shop.log");
    let ensure = ["ensure-daemon", "--daemon-log-path", log.to_str().unwrap()];
    for trap in traps(&place, &log) {
        assert!(place.intrude(&trap).status.success(), "{trap}");
        place.fails(&ensure, "shop.log");
        assert!(place.is_precious_still(), "{trap}");
        assert!(
            place
                .intrude(&format!("rm -r {}", log.display()))
                .status
                .success()
        );
    }
    std::fs::hard_link(place.precious(), &log).unwrap();
    place.fails(&ensure, "it has another name, too");
    assert!(place.is_precious_still());
}

#[test]
fn a_pid_file_that_an_intruder_has_prepared_is_not_written_to() {
    if !has_users() {
        return;
    }
    let place = Place::new();
    let (log, pid) = (place.own("shop.log"), place.shared("shop.pid"));
    let ensure = [
        "ensure-daemon",
        "--daemon-log-path",
        log.to_str().unwrap(),
        "--daemon-pid-path",
        pid.to_str().unwrap(),
    ];
    for trap in traps(&place, &pid) {
        assert!(place.intrude(&trap).status.success(), "{trap}");
        // What belongs to somebody else cannot be replaced in a sticky folder.
        place.fails(&ensure, "shop.pid");
        assert!(place.is_precious_still(), "{trap}");
        assert_eq!(owner_of(&pid), INTRUDER);
        assert!(
            place
                .intrude(&format!("rm -r {}", pid.display()))
                .status
                .success()
        );
    }
    std::fs::hard_link(place.precious(), &pid).unwrap();
    let output = place.rollbridge(&ensure).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(place.is_precious_still(), "the name is replaced, not the file");
    for file in [&log, &pid] {
        assert_eq!(std::fs::metadata(file).unwrap().mode() & 0o777, 0o600);
        assert!(!place.intrude(&format!("cat {}", file.display())).status.success());
    }
}

#[test]
fn a_state_file_of_an_intruder_is_not_believed() {
    if !has_users() {
        return;
    }
    let place = Place::new();
    let state = place.shared("shop.state");
    place.write_config(&json!({ "statePath": state, "control": { "path": place.own("control.sock") } }));
    let orphan =
        json!({ "id": "web", "releaseId": "v1", "process": { "pid": 1, "startTicks": 0, "bootId": "x" } });
    let forged = json!({
        "format": "rollbridge-state", "version": 1, "application": "shop", "daemon": null, "activeReleaseId": null,
        "releases": [], "services": [], "singletons": [], "orphans": [orphan], "events": [],
    });
    let forge = format!("echo '{forged}' > {}", state.display());
    assert!(place.intrude(&forge).status.success());
    let recover = place.rollbridge(&["recover", "--force"]).output().unwrap();
    let said = [recover.stdout, recover.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains(&format!("it belongs to user {INTRUDER}")), "{said}");
    place.start();
    wait_until("the daemon says what it thinks of it", || {
        place.log().contains("state file refused")
    });
    let status = place.rollbridge(&["status"]).output().unwrap();
    assert!(
        String::from_utf8_lossy(&status.stdout).contains("\"orphans\": []"),
        "{status:?}"
    );
}

#[test]
fn a_copy_of_the_program_is_never_put_where_an_intruder_can_change_it() {
    if !has_users() {
        return;
    }
    let place = Place::new();
    let (log, runtime) = (place.own("shop.log"), place.shared("runtime"));
    let ensure = [
        "ensure-daemon",
        "--daemon-log-path",
        log.to_str().unwrap(),
        "--daemon-runtime-path",
        runtime.to_str().unwrap(),
    ];
    for (trap, words) in [
        (
            format!("mkdir -m 777 {}", runtime.display()),
            format!("belongs to user {INTRUDER}"),
        ),
        (
            format!("ln -s {} {}", place.shared("").display(), runtime.display()),
            "others may write to it".to_owned(),
        ),
    ] {
        assert!(place.intrude(&trap).status.success(), "{trap}");
        place.fails(&ensure, &words);
        assert!(
            place
                .intrude(&format!("rm -r {}", runtime.display()))
                .status
                .success()
        );
    }
    let output = place.rollbridge(&ensure).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(owner_of(&runtime), VICTIM);
    assert_eq!(std::fs::metadata(&runtime).unwrap().mode() & 0o777, 0o700);
}
