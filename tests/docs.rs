//! The reference pages against the program: `docs/config.md` has every field with its type and default, `docs/cli.md`
//! every command with its options and every error code with its exit status.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use rollbridge::config::fields::{CONFIG, Fallback, Field, MAX_INTEGER, Shape, object_within};
use rollbridge::config::{FILE_NAMES, Variable};
use rollbridge::error::ErrorCode;

/// Options of every command, described once for all.
const COMMON_OPTIONS: [&str; 2] = ["--config <PATH>", "--help"];

fn page(name: &str) -> String {
    fs::read_to_string(format!("docs/{name}")).expect("the page is there")
}

/// The rows of all tables whose header is `header`, cell by cell.
fn rows(page: &str, header: &str) -> Vec<Vec<String>> {
    let mut inside = false;
    let mut rows = Vec::new();
    for line in page.lines() {
        if line == header {
            inside = true;
        } else if !line.starts_with('|') {
            inside = false;
        } else if inside && !line.starts_with("| ---") {
            // A bar inside a cell is written as an entity or escaped.
            let cells = line.replace("\\|", "\u{1}");
            let cells = cells.trim_matches('|').split('|');
            rows.push(cells.map(|cell| cell.trim().replace('\u{1}', "|")).collect());
        }
    }
    rows
}

fn code(cell: &str) -> &str {
    cell.trim_matches('`')
}

/// Path, type and default of every field, as the page must have them.
fn expected_fields(fields: &'static [Field], around: &str, found: &mut Vec<[String; 3]>) {
    for field in fields {
        let path = format!("{around}{}", field.name);
        found.push([path.clone(), type_of(&field.shape), default_of(field)]);
        if let Some(inner) = object_within(&field.shape) {
            let list = if matches!(field.shape, Shape::List { .. }) {
                "[]"
            } else {
                ""
            };
            expected_fields(inner, &format!("{path}{list}."), found);
        }
    }
}

fn type_of(shape: &Shape) -> String {
    match shape {
        Shape::Text(_) => "text".to_owned(),
        Shape::Integer { min: 0, max: 65535 } => "port".to_owned(),
        Shape::Integer { min: 1, max: 65535 } => "port ≥ 1".to_owned(),
        Shape::Integer {
            min: 0,
            max: MAX_INTEGER,
        } => "integer".to_owned(),
        Shape::Integer { min, max } if *max >= u64::from(u32::MAX) => match min {
            0 => "integer".to_owned(),
            min => format!("integer ≥ {min}"),
        },
        Shape::Integer { min, max } => format!("integer {min} to {max}"),
        Shape::Number { min } => format!("number ≥ {min}"),
        Shape::Boolean => "`true` or `false`".to_owned(),
        Shape::False => "`false`".to_owned(),
        Shape::Word(words) => words
            .iter()
            .map(|word| format!("`\"{word}\"`"))
            .collect::<Vec<_>>()
            .join(", "),
        Shape::Signal => "signal name".to_owned(),
        Shape::Mode => "octal mode".to_owned(),
        Shape::Principal => "name or id".to_owned(),
        Shape::Network => "CIDR".to_owned(),
        Shape::List { of, .. } => format!("list of {}", type_of(of)),
        Shape::Environment => "object of text".to_owned(),
        Shape::Object(_) => "object".to_owned(),
        Shape::Either(shapes) => shapes.iter().map(type_of).collect::<Vec<_>>().join(" or "),
    }
}

fn default_of(field: &Field) -> String {
    match field.fallback {
        Fallback::Required => "required".to_owned(),
        Fallback::Nothing => "none".to_owned(),
        Fallback::Value(json) => format!("`{json}`"),
        Fallback::Described(words) => words.replace('<', "&lt;").replace('>', "&gt;"),
    }
}

#[test]
fn the_config_page_has_every_field_and_no_other() {
    let mut expected = Vec::new();
    expected_fields(CONFIG, "", &mut expected);
    let page = page("config.md");
    let documented = rows(&page, "| field | type | default | meaning |");
    let mut wrong = Vec::new();
    for [path, kind, default] in &expected {
        let row = documented.iter().find(|row| code(&row[0]) == path);
        match row {
            Some(row) if row[1] == *kind && row[2] == *default && row[3].len() > 3 => {}
            Some(row) => wrong.push(format!("{row:?} should be | `{path}` | {kind} | {default} | …")),
            None => wrong.push(format!("missing: | `{path}` | {kind} | {default} | …")),
        }
    }
    let is_known = |row: &&Vec<String>| expected.iter().any(|[path, ..]| path == code(&row[0]));
    wrong.extend(
        documented
            .iter()
            .filter(|row| !is_known(row))
            .map(|row| format!("no such field: {row:?}")),
    );
    assert!(wrong.is_empty(), "docs/config.md:\n{}", wrong.join("\n"));
    assert_eq!(
        documented.len(),
        expected.len(),
        "a field stands in docs/config.md twice"
    );
}

#[test]
fn the_config_page_names_real_placeholders_and_files() {
    let page = page("config.md");
    let placeholders = rows(&page, "| placeholder | value |");
    assert!(placeholders.len() >= 13, "every placeholder has a row");
    for row in placeholders {
        let name = code(&row[0]).trim_matches(['{', '}']);
        assert!(Variable::parse(name).is_some(), "{name} is no placeholder");
    }
    for name in FILE_NAMES {
        assert!(
            page.contains(&format!("`{name}`")),
            "docs/config.md does not name {name}"
        );
    }
}

/// What `rollbridge <arguments> --help` prints.
fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rollbridge"))
        .args(arguments)
        .arg("--help")
        .output();
    let output = output.expect("the binary can be run");
    assert!(output.status.success(), "{arguments:?} has no help");
    String::from_utf8(output.stdout).expect("help is text")
}

/// `--release-path <PATH>` for every option in a help text.
fn options_in(help: &str) -> Vec<String> {
    let lines = help.lines().map(str::trim).filter(|line| line.starts_with('-'));
    let long = lines.filter_map(|line| line.split_once("--").map(|(_, rest)| rest));
    let name = |rest: &str| rest.split("  ").next().map(|name| format!("--{}", name.trim()));
    let mut options: Vec<String> = long.filter_map(name).collect();
    options.sort();
    options
}

fn commands_in(help: &str) -> Vec<String> {
    let list = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    let names = list
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// The text under each `## rollbridge <command>` heading.
fn command_sections(page: &str) -> BTreeMap<String, String> {
    let mut sections = BTreeMap::new();
    for section in page.split("\n## ").skip(1) {
        let (heading, text) = section.split_once('\n').unwrap_or((section, ""));
        if let Some(command) = heading.strip_prefix("rollbridge ") {
            sections.insert(command.trim().to_owned(), text.to_owned());
        }
    }
    sections
}

fn documented_options(text: &str) -> Vec<String> {
    let rows = rows(text, "| option | meaning |");
    let mut options: Vec<String> = rows.iter().map(|row| code(&row[0]).to_owned()).collect();
    options.sort();
    options
}

#[test]
fn the_command_page_has_every_command_with_exactly_its_options() {
    let page = page("cli.md");
    let sections = command_sections(&page);
    let commands = commands_in(&help(&[]));
    assert!(commands.len() >= 7, "the commands are read from the help text");
    for command in &commands {
        let section = sections
            .get(command)
            .unwrap_or_else(|| panic!("docs/cli.md has no ## rollbridge {command}"));
        let mut actual = options_in(&help(&[command]));
        actual.retain(|option| !COMMON_OPTIONS.contains(&option.as_str()));
        assert_eq!(
            documented_options(section),
            actual,
            "options of {command}: page left, program right"
        );
    }
    let missing: Vec<&String> = sections
        .keys()
        .filter(|command| !commands.contains(command))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/cli.md describes commands that do not exist: {missing:?}"
    );
}

#[test]
fn the_command_page_has_the_common_options() {
    let page = page("cli.md");
    let common = page
        .split("\n## ")
        .find(|section| section.starts_with("Options of every command"));
    let documented = documented_options(common.expect("docs/cli.md describes the common options"));
    assert_eq!(documented, options_in(&help(&[])));
}

#[test]
fn the_command_page_has_true_error_codes() {
    let documented = rows(&page("cli.md"), "| code | exit | when |");
    assert!(documented.len() >= 18, "the error codes are listed");
    for row in documented {
        let code = ErrorCode::parse(code(&row[0])).unwrap_or_else(|| panic!("{} is no error code", row[0]));
        assert_eq!(row[1], code.exit_status().to_string(), "exit status of {code}");
    }
}

#[test]
fn the_exit_statuses_are_all_there_with_tests_that_exist() {
    let documented = rows(
        &page("cli.md"),
        "| exit | meaning | tests in `tests/cli/exit_codes.rs` |",
    );
    let statuses: Vec<&str> = documented.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(statuses, ["0", "1", "2", "3", "4"]);
    let tests = fs::read_to_string("tests/cli/exit_codes.rs").expect("the tests are there");
    for row in &documented {
        for name in row[2].split(", ").map(code) {
            let is_there = tests.contains(&format!("#[test]\nfn {name}()"));
            assert!(is_there, "{name} is no test of tests/cli/exit_codes.rs");
        }
    }
}

#[test]
fn the_architecture_page_names_every_direct_dependency() {
    let page = page("architecture.md");
    let mut documented: BTreeMap<String, String> = BTreeMap::new();
    for header in [
        "| crate | version | licence | kept by | why not our own code |",
        "| package | version | licence | kept by | why |",
    ] {
        let rows = rows(&page, header);
        documented.extend(rows.iter().map(|row| (code(&row[0]).to_owned(), row[1].clone())));
    }
    let mut actual = crates();
    actual.extend(npm_packages());
    assert_eq!(documented, actual, "dependencies: page left, manifests right");
}

/// The crates that Cargo.toml names, with their versions.
fn crates() -> BTreeMap<String, String> {
    let manifest = fs::read_to_string("Cargo.toml").expect("the manifest is there");
    let mut crates = BTreeMap::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        } else if let Some((name, spec)) = line.split_once(" = ").filter(|_| inside) {
            // Either the version itself, or a table that begins with it.
            let version = spec.split('"').nth(1).unwrap_or_default();
            crates.insert(name.to_owned(), version.to_owned());
        }
    }
    crates
}

fn npm_packages() -> BTreeMap<String, String> {
    let manifest = fs::read_to_string("package.json").expect("the manifest is there");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("it is JSON");
    let groups = ["dependencies", "devDependencies"].map(|group| manifest[group].as_object());
    let packages = groups.into_iter().flatten().flatten();
    packages
        .map(|(name, version)| (name.clone(), version.as_str().unwrap_or_default().to_owned()))
        .collect()
}

#[test]
fn the_command_page_lists_every_event() {
    let source = fs::read_to_string("src/events.rs").expect("the events have a file");
    let marks = source.split("#[serde(rename = \"").skip(1);
    let mut actual: Vec<&str> = marks.filter_map(|rest| rest.split('"').next()).collect();
    let page = page("cli.md");
    let list = page
        .split("The messages are ")
        .nth(1)
        .and_then(|rest| rest.split(". ").next());
    let list = list.expect("the messages are listed");
    let mut documented: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    actual.sort_unstable();
    documented.sort_unstable();
    assert_eq!(documented, actual, "event messages: page left, program right");
}
