//! The first steps: `init` writes a config, `completion` teaches the shell.

use std::process::{Command, Output};

use crate::stage::rollbridge;
use crate::terminal::Terminal;

fn run(folder: &std::path::Path, arguments: &[&str]) -> Output {
    rollbridge()
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("it runs")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("text")
}

#[test]
fn init_writes_a_config_that_is_valid() {
    for (arguments, file) in [
        (vec!["init"], "rollbridge.mjs"),
        (vec!["init", "--config", "rollbridge.js"], "rollbridge.js"),
        (vec!["init", "-c", "app.cjs"], "app.cjs"),
        (vec!["init", "-c", "app.json"], "app.json"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let output = run(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(
            stdout(&output),
            format!("wrote {file}; edit it, then check it with rollbridge validate\n")
        );
        let report = run(folder.path(), &["validate", "--json", "--config", file]);
        let report: serde_json::Value = serde_json::from_str(stdout(&report)).expect("JSON");
        assert_eq!(report["valid"], true, "{report:#}");
        assert_eq!(report["warnings"], serde_json::json!([]), "{report:#}");
    }
}

#[test]
fn init_never_writes_over_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let cjs = folder.path().join("rollbridge.cjs");
    std::fs::write(&cjs, "mine").expect("the folder is ours");
    for arguments in [vec!["init"], vec!["init", "--config", "rollbridge.cjs"]] {
        let output = run(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("rollbridge.cjs exists and is left as it is"),
            "{said}"
        );
        assert!(output.stdout.is_empty());
    }
    assert_eq!(std::fs::read_to_string(&cjs).expect("it is there"), "mine");
    // A link that leads nowhere is a file too.
    std::os::unix::fs::symlink("/no/such/file", folder.path().join("linked.mjs")).expect("a link");
    let output = run(folder.path(), &["init", "--config", "linked.mjs"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let output = run(folder.path(), &["init", "--config", "config.yaml"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("use one of .mjs"), "{said}");
    let output = run(folder.path(), &["init", "--config", "no/folder/rollbridge.mjs"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("No such file or directory"), "{said}");
}

/// A shell may be missing on a developer's machine, never where everything is required.
fn has(shell: &str) -> bool {
    let found = Command::new(shell).arg("--version").output().is_ok();
    assert!(
        found || std::env::var_os("ROLLBRIDGE_REQUIRE_ALL").is_none(),
        "install {shell}"
    );
    found
}

/// A folder with the program under its usual name.
fn path_with_program() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("rollbridge");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rollbridge"), link).expect("a link");
    folder
}

fn search_path(folder: &tempfile::TempDir) -> String {
    let path = std::env::var("PATH").expect("there is one");
    format!("{}:{path}", folder.path().display())
}

#[test]
fn bash_completes_commands_and_options() {
    if !has("bash") {
        return;
    }
    let folder = path_with_program();
    let script = r#"
        source <(rollbridge completion bash)
        complete() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _rollbridge rollbridge "${@: -1}" "${@: -2:1}"; echo "${COMPREPLY[@]}"; }
        complete rollbridge predep
        complete rollbridge deploy --release-p
        complete rollbridge eng
        complete rollbridge completion z
    "#;
    let output = Command::new("bash")
        .args(["-c", script])
        .env("PATH", search_path(&folder))
        .output();
    let output = output.expect("it runs");
    assert_eq!(
        stdout(&output),
        "predeploy-cleanup\n--release-path\n\nzsh\n",
        "{output:?}"
    );
}

#[test]
fn fish_completes_commands_and_options() {
    if !has("fish") {
        return;
    }
    let folder = path_with_program();
    let script = r"
        rollbridge completion fish | source
        complete -C 'rollbridge predep'
        complete -C 'rollbridge deploy --release-p'
        complete -C 'rollbridge eng'
    ";
    let output = Command::new("fish")
        .args(["--no-config", "-c", script])
        .env("PATH", search_path(&folder))
        .env("HOME", folder.path())
        .output()
        .expect("it runs");
    let words: Vec<&str> = stdout(&output)
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(words, ["predeploy-cleanup", "--release-path"], "{output:?}");
}

#[test]
fn zsh_completes_commands_and_options() {
    if !has("zsh") {
        return;
    }
    let folder = path_with_program();
    let mut zsh = Terminal::run_shell("zsh", &["-f", "-i"], &search_path(&folder));
    zsh.type_text("PS1='ready> '; autoload -U compinit; compinit -u -D; source <(rollbridge completion zsh); echo is\\ set\n");
    zsh.wait_for_text("\nis set");
    zsh.type_text("rollbridge predep\t");
    zsh.wait_for_text("predeploy-cleanup");
    zsh.type_text("\x15rollbridge deploy --release-p\t");
    zsh.wait_for_text("--release-path");
}

#[test]
fn an_unknown_shell_is_a_wrong_argument() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [vec!["completion", "tcsh"], vec!["completion"]] {
        let output = run(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("SHELL"), "{said}");
    }
}
