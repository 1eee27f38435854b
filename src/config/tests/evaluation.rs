//! Config files as people write them, evaluated by a real Node.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::error::ErrorCode;

/// A folder with a config in it.
struct Project {
    folder: TempDir,
}

impl Project {
    fn new(files: &[(&str, &str)]) -> Project {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        Project { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str) -> ConfigFile {
        ConfigFile::at(Path::new(name), self.folder.path())
    }

    async fn evaluate(&self, name: &str) -> Result<Evaluated, ConfigError> {
        evaluator().evaluate(&self.file(name)).await
    }
}

fn evaluator() -> Evaluator {
    Evaluator {
        preferred_node: None,
        ..Evaluator::from_environment()
    }
}

async fn value(name: &str, text: &str) -> Value {
    let evaluated = Project::new(&[(name, text)])
        .evaluate(name)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(evaluated.problems, []);
    evaluated.value
}

async fn failure(name: &str, text: &str) -> String {
    let error = Project::new(&[(name, text)])
        .evaluate(name)
        .await
        .expect_err("it is not usable");
    assert_eq!(error.code(), ErrorCode::ConfigUnreadable);
    let message = error.to_string();
    assert!(
        message.contains(name) && !message.contains("node:internal") && !message.contains("[eval1]"),
        "{message}"
    );
    message
}

#[tokio::test]
async fn every_form_of_module_is_read() {
    let cases = [
        ("rollbridge.mjs", "export default {a: 1}"),
        ("rollbridge.mjs", "export default () => ({a: 1})"),
        (
            "rollbridge.mjs",
            "export default async (...given) => ({a: given.length + 1})",
        ),
        ("rollbridge.mjs", "export default Promise.resolve({a: 1})"),
        ("rollbridge.mjs", "export default {a: await 1, b: undefined}"),
        ("rollbridge.cjs", "module.exports = {a: 1}"),
        (
            "rollbridge.cjs",
            "module.exports = async function () { return {a: 1} }",
        ),
        (
            "rollbridge.cjs",
            "exports.__esModule = true; exports.default = () => ({a: 1})",
        ),
        ("rollbridge.js", "module.exports = {a: 1}"),
        ("rollbridge.json", "\u{feff}{\"a\": 1}"),
        ("my config é.mjs", "export default {a: 1}"),
    ];
    for (name, text) in cases {
        assert_eq!(value(name, text).await, json!({"a": 1}), "{text}");
    }
    let project = Project::new(&[
        ("package.json", "{\"type\": \"module\"}"),
        ("rollbridge.js", "export default {a: 1}"),
    ]);
    assert_eq!(
        project.evaluate("rollbridge.js").await.expect("a module").value,
        json!({"a": 1})
    );
}

#[tokio::test]
async fn typescript_works_or_says_what_to_do() {
    let project = Project::new(&[("rollbridge.mts", "const a: number = 1; export default {a}")]);
    match project.evaluate("rollbridge.mts").await {
        Ok(evaluated) => assert_eq!(evaluated.value, json!({"a": 1})),
        Err(error) => {
            let message = error.to_string();
            assert!(
                message.contains("TypeScript") && message.contains("22.18"),
                "{message}"
            );
        }
    }
}

#[tokio::test]
async fn the_module_runs_in_the_folder_of_the_config() {
    let project = Project::new(&[("rollbridge.mjs", "export default {cwd: process.cwd()}")]);
    let found = project.evaluate("rollbridge.mjs").await.expect("a module").value;
    let folder = fs::canonicalize(project.folder.path()).expect("it exists");
    assert_eq!(found, json!({"cwd": folder}));
}

#[tokio::test]
async fn output_input_and_open_handles_do_not_matter() {
    let text = "import {readFileSync, writeSync} from 'node:fs'
        console.log('{\"value\": 1}'); writeSync(1, 'noise'); setInterval(() => {}, 1000)
        export default {stdin: readFileSync(0, 'utf8')}";
    let started = Instant::now();
    assert_eq!(value("rollbridge.mjs", text).await, json!({"stdin": ""}));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn everything_imported_is_read_anew() {
    let project = Project::new(&[(
        "rollbridge.mjs",
        "import {a} from './part.mjs'; export default {a}",
    )]);
    for number in [1, 2] {
        fs::write(project.path("part.mjs"), format!("export const a = {number}")).expect("a file");
        assert_eq!(
            project.evaluate("rollbridge.mjs").await.expect("a module").value,
            json!({"a": number})
        );
    }
}

#[tokio::test]
async fn a_link_in_the_path_is_followed_at_each_load() {
    let project = Project::new(&[]);
    let file = project.file("current/rollbridge.cjs");
    for release in ["v1", "v2"] {
        fs::create_dir(project.path(release)).expect("a folder");
        let text = format!("module.exports = {{release: '{release}'}}");
        fs::write(project.path(release).join("rollbridge.cjs"), text).expect("a file");
        fs::remove_file(project.path("current")).ok();
        std::os::unix::fs::symlink(release, project.path("current")).expect("a link");
        assert_eq!(
            evaluator().evaluate(&file).await.expect("a module").value,
            json!({"release": release})
        );
    }
}

#[tokio::test]
async fn what_is_not_json_is_found() {
    let text = "const o = {id: 'web'}; o.self = o
        class Own {}
        export default {processes: [o], f() {}, s: Symbol('x'), b: 1n, n: NaN, i: -Infinity, d: new Date(0),
          m: new Map(), c: new Own(), p: Promise.resolve(), t: '\\ud800', ok: [undefined, null, -0, 1e21, '😀', true]}";
    let evaluated = Project::new(&[("r.mjs", text)])
        .evaluate("r.mjs")
        .await
        .expect("a module");
    let found: Vec<_> = evaluated
        .problems
        .iter()
        .map(|problem| (problem.place.to_string(), problem.kind.clone()))
        .collect();
    let expected = [
        (
            "processes[0] (\"web\").self",
            "a reference back to something it is part of",
        ),
        ("f", "a function"),
        ("s", "a symbol"),
        ("b", "a BigInt"),
        ("n", "NaN"),
        ("i", "-Infinity"),
        ("d", "an instance of Date"),
        ("m", "an instance of Map"),
        ("c", "an instance of Own"),
        ("p", "a Promise nobody awaited"),
        ("t", "text with half of a character in it"),
    ];
    let expected = expected.map(|(place, kind)| (place.to_owned(), kind.to_owned()));
    assert_eq!(found, expected);
    assert_eq!(evaluated.value["ok"], json!([null, null, 0, 1e21, "😀", true]));
}

#[tokio::test]
async fn a_module_without_an_object_is_an_issue() {
    for (text, what) in [
        ("export const a = 1", "nothing"),
        ("export default () => () => 1", "a function"),
    ] {
        let project = Project::new(&[("r.mjs", text)]);
        let evaluated = project.evaluate("r.mjs").await.expect("a module");
        let report = examine_value(&evaluated.value, &evaluated.problems, &origin());
        assert_eq!(report.issues.len(), 1);
        assert!(
            report.issues[0]
                .message
                .ends_with(&format!("the module exports {what}"))
        );
    }
}

#[tokio::test]
async fn failures_are_short_and_say_where() {
    let cases = [
        (
            "r.mjs",
            "export default {\n  a: ,\n}",
            "SyntaxError: Unexpected token ',' (at r.mjs:2)",
        ),
        (
            "r.cjs",
            "module.exports = {\n  a: ,\n}",
            "SyntaxError: Unexpected token ',' (at r.cjs:2)",
        ),
        (
            "r.mjs",
            "export default () => {\n  return foo\n}",
            "ReferenceError: foo is not defined (at r.mjs:2:3)",
        ),
        (
            "r.mjs",
            "throw new TypeError('no key')",
            "TypeError: no key (at r.mjs:1:7)",
        ),
        ("r.mjs", "throw 'plain'", "it threw plain"),
        ("r.mjs", "throw null", "it threw a value of type object"),
        (
            "r.mjs",
            "export default Promise.reject(new Error('late'))",
            "Error: late (at r.mjs:1:",
        ),
        ("r.mjs", "import x from './nope.mjs'", "Cannot find module '"),
        ("r.mjs", "import x from 'nope'", "Cannot find package 'nope'"),
        (
            "r.cjs",
            "require('nope')",
            "Cannot find module 'nope' (at r.cjs:1:1)",
        ),
        ("r.mjs", "process.exit(3)", "it ended Node with exit status 3"),
        (
            "r.mjs",
            "process.kill(process.pid, 'SIGKILL')",
            "ended without an answer (signal: 9 (SIGKILL))",
        ),
        (
            "r.mjs",
            "export default await new Promise(() => {})",
            "it never finished",
        ),
        (
            "r.mjs",
            "setImmediate(() => { throw new Error('x') }); await new Promise(() => setTimeout(() => {}, 9e6))",
            "Error: x",
        ),
        (
            "r.mjs",
            "export default {get a() { throw new Error('getter') }}",
            "Error: getter (at r.mjs:1:",
        ),
        ("r.json", "{\"a\": 1,}", "line 1 column 9"),
        ("r.json", "", "EOF while parsing"),
    ];
    for (name, text, expected) in cases {
        let message = failure(name, text).await;
        assert!(
            message.contains(expected),
            "{message} does not contain {expected}"
        );
    }
    let message = Project::new(&[
        ("package.json", "{\"type\": \"commonjs\"}"),
        ("r.js", "export default {}"),
    ])
    .evaluate("r.js")
    .await;
    if let Err(error) = message {
        assert!(error.to_string().contains("rollbridge.mjs"), "{error}");
    }
}

#[tokio::test]
async fn a_missing_file_is_named() {
    for name in ["rollbridge.js", "rollbridge.json"] {
        let error = Project::new(&[])
            .evaluate(name)
            .await
            .expect_err("there is none")
            .to_string();
        assert!(error.contains(name) && error.contains("No such file"), "{error}");
    }
}

#[tokio::test]
async fn a_module_that_takes_too_long_is_ended_with_its_children() {
    let text = "import {spawn} from 'node:child_process'
        import {writeFileSync} from 'node:fs'
        const child = spawn('sleep', ['1000'], {stdio: 'inherit'})
        writeFileSync('pids', `${process.pid} ${child.pid}`)
        await new Promise(() => setInterval(() => {}, 1000))";
    let project = Project::new(&[("r.mjs", text)]);
    let evaluator = Evaluator {
        time_limit: Duration::from_secs(10),
        ..evaluator()
    };
    let error = evaluator
        .evaluate(&project.file("r.mjs"))
        .await
        .expect_err("it never ends");
    assert!(matches!(error, ConfigError::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains("longer than 10 s"), "{error}");
    let pids = fs::read_to_string(project.path("pids")).expect("the module got that far");
    for pid in pids.split(' ').map(|pid| pid.parse().expect("a number")) {
        ended(pid).await;
    }
}

/// Waits until a process is gone, or a zombie of somebody else.
async fn ended(pid: i32) {
    let is_alive = || {
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
        state.is_some_and(|state| state != 'Z' && state != 'X')
    };
    let started = Instant::now();
    while is_alive() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "process {pid} still lives"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_load_that_is_given_up_leaves_nothing_behind() {
    let text = "import {writeFileSync} from 'node:fs'
        writeFileSync('pid', String(process.pid))
        await new Promise(() => setInterval(() => {}, 1000))";
    let project = Project::new(&[("r.mjs", text)]);
    let file = project.file("r.mjs");
    let evaluator = evaluator();
    let loading = evaluator.evaluate(&file);
    let started = async {
        loop {
            let pid = fs::read_to_string(project.path("pid"))
                .ok()
                .and_then(|pid| pid.parse::<i32>().ok());
            if let Some(pid) = pid {
                return pid;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let pid = tokio::select! {
        _ = loading => panic!("it never ends"),
        pid = started => pid,
    };
    ended(pid).await;
}

#[tokio::test]
async fn node_is_only_needed_for_modules() {
    let without_node = Evaluator {
        preferred_node: None,
        search_path: Some("/nowhere".into()),
        ..evaluator()
    };
    let project = Project::new(&[("r.json", "{}"), ("r.js", "module.exports = {}")]);
    assert_eq!(
        without_node
            .evaluate(&project.file("r.json"))
            .await
            .expect("JSON")
            .value,
        json!({})
    );
    let error = without_node
        .evaluate(&project.file("r.js"))
        .await
        .expect_err("there is no node")
        .to_string();
    for advice in ["install Node", "ROLLBRIDGE_NODE", "rollbridge.json"] {
        assert!(error.contains(advice), "{error}");
    }
}

#[test]
fn the_preferred_node_is_used_while_it_exists() {
    use std::os::unix::fs::PermissionsExt;
    let project = Project::new(&[("node", ""), ("plain", "")]);
    fs::set_permissions(project.path("node"), fs::Permissions::from_mode(0o755)).expect("own file");
    let find = |preferred: &str| {
        let search_path = Some(format!(":relative:{}", project.folder.path().display()).into());
        Evaluator {
            preferred_node: Some(preferred.into()),
            search_path,
            ..evaluator()
        }
        .find_node()
    };
    assert_eq!(find("/proc/self/exe"), Some("/proc/self/exe".into()));
    for preferred in [
        "/no/such/node",
        project.path("plain").to_str().expect("UTF-8"),
        "",
    ] {
        assert_eq!(find(preferred), Some(project.path("node")), "{preferred}");
    }
}

#[tokio::test]
async fn the_whole_way_from_a_file() {
    let text = format!("module.exports = {}", example_value());
    let project = Project::new(&[("rollbridge.cjs", &text), ("bad.json", "{\"processes\": []}")]);
    let loaded = load(&project.file("rollbridge.cjs"))
        .await
        .expect("a valid config");
    assert_eq!(loaded.config, example());
    assert_eq!(loaded.path, Some(project.path("rollbridge.cjs")));

    let error = load(&project.file("bad.json"))
        .await
        .expect_err("nothing is proxied");
    assert_eq!(error.code(), ErrorCode::InvalidConfig);
    let text = error.to_string();
    assert!(
        text.starts_with("Found 1 configuration issue in bad.json:\n\n1. Config must")
            && text.contains("\n   Fix: ")
    );
}
