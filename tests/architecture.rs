//! The house rules of `docs/architecture.md`, kept by reading the source: which room may name what, which room may use
//! which, how long a file may be. Comments, literals and unit tests do not count.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms from top to bottom. A room uses itself and the rooms on lower lines, never one on its own line.
const FLOORS: &[&[&str]] = &[
    &["cli", "node"],
    &["ops"],
    &["control"],
    &["daemon"],
    &["release"],
    &["process", "proxy"],
    &["keeper"],
    &["host"],
    &["config"],
    &["events"],
    &["clock", "error", "fail_point"],
];

/// Files that belong to no room.
const DOORS: &[&str] = &["src/lib.rs", "src/main.rs"];

/// The most lines a file may have before its unit tests.
const MOST_LINES: usize = 500;

/// One source file, reduced to what the rules are about.
struct Source {
    /// Its path from the root of the checkout.
    path: String,
    /// Its code before the unit tests: comments and literals are blank, line breaks are where they were.
    code: String,
    text: String,
}

impl Source {
    /// `src/proxy/pool.rs` is in `proxy`, `src/clock.rs` is `clock`.
    fn room(&self) -> &str {
        let inside = &self.path["src/".len()..];
        inside
            .split('/')
            .next()
            .map_or(inside, |first| first.trim_end_matches(".rs"))
    }

    fn is_allowed(&self, places: &[&str]) -> bool {
        places.iter().any(|place| match place.ends_with('/') {
            true => self.path.starts_with(place),
            false => self.path == *place,
        })
    }

    /// `path:line: text` of every line that `is_wrong`.
    fn lines_where(&self, is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
        let found = self.code.lines().enumerate().filter(|(_, line)| is_wrong(line));
        found
            .map(|(index, line)| format!("{}:{}: {}", self.path, index + 1, line.trim()))
            .collect()
    }
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(Path::new("src"), &mut files);
    files.sort();
    assert!(files.len() > 50, "the tests of a package run in its folder");
    let texts = files.into_iter().map(|path| {
        let text = fs::read_to_string(&path).expect("a source file is readable text");
        (path, text)
    });
    let texts: Vec<(PathBuf, String)> = texts.collect();
    let tests: Vec<PathBuf> = texts
        .iter()
        .flat_map(|(path, text)| test_modules(path, text))
        .collect();
    let is_source = |path: &Path| {
        let is_within = |module: &PathBuf| path.with_extension("").starts_with(module);
        !tests.iter().any(is_within)
    };
    texts
        .into_iter()
        .filter(|(path, _)| is_source(path))
        .map(|(path, text)| Source {
            path: path.display().to_string(),
            code: blank(without_tests(&text)),
            text,
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The modules with files of their own that are compiled for tests only, without extension.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod" | "lib" | "main") => path.parent().map(Path::to_owned).unwrap_or_default(),
        _ => path.with_extension(""),
    };
    let names = test_declarations(text).filter_map(|(_, rest)| rest.strip_suffix(';'));
    names.map(|name| folder.join(name)).collect()
}

/// The text up to the unit tests at its end.
fn without_tests(text: &str) -> &str {
    let inline = test_declarations(text).find(|(_, rest)| rest.ends_with('{'));
    inline.map_or(text, |(at, _)| &text[..at])
}

/// Where modules for tests are declared, with what follows `mod` on the line: `#[cfg(test)]`, or a condition that
/// contains `test`, stands on the line before.
fn test_declarations(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    starts.filter_map(|at| {
        let mut lines = text[at..].lines();
        let condition = lines.next()?.strip_prefix("#[cfg(")?;
        let name = lines.next()?.strip_prefix("mod ")?;
        (has_word(condition, "test") && !condition.starts_with("not(")).then_some((at, name))
    })
}

/// The code with a space for every character of a comment or a literal.
fn blank(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(next) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest).filter(|_| !out.ends_with(is_word)) {
            length
        } else if next == '"' {
            string(rest)
        } else if next == '\'' {
            character(rest)
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        out.extend(
            rest[..length]
                .chars()
                .map(|character| if character == '\n' { '\n' } else { ' ' }),
        );
        rest = &rest[length..];
    }
    out
}

fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let inside = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = rest.len() - inside.len();
    Some(inside.find(&end).map_or(rest.len(), |at| begin + at + end.len()))
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal; of a lifetime only the quote.
fn character(rest: &str) -> usize {
    let inside = &rest[1..];
    let length = match inside.strip_prefix('\\') {
        Some(escape) => escape
            .char_indices()
            .skip(1)
            .find(|(_, next)| *next == '\'')
            .map(|(at, _)| at + 2),
        None => inside
            .char_indices()
            .nth(1)
            .filter(|(_, next)| *next == '\'')
            .map(|(at, _)| at + 1),
    };
    length.map_or(1, |length| length + 1)
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The places where `word` stands in `line` as a word of its own.
fn places(line: &str, word: &str) -> Vec<usize> {
    let stands_alone =
        |at: &usize| !line[..*at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word);
    line.match_indices(word)
        .map(|(at, _)| at)
        .filter(stands_alone)
        .collect()
}

fn has_word(line: &str, word: &str) -> bool {
    !places(line, word).is_empty()
}

/// Whether the free function `name` is called or imported; a method or a definition of that name is another thing.
fn uses_function(line: &str, name: &str) -> bool {
    places(line, name).into_iter().any(|at| {
        let before = line[..at].trim_end();
        let is_called = line[at + name.len()..].starts_with('(');
        let is_imported = line.trim_start().starts_with("use ");
        (is_called || is_imported) && !before.ends_with('.') && !before.ends_with("fn")
    })
}

/// Only files in `allowed` (folders end with a slash) have lines that `is_wrong`.
fn only_in(allowed: &[&str], rule: &str, is_wrong: impl Fn(&str) -> bool) {
    let sources = sources();
    let offences: Vec<String> = sources
        .iter()
        .filter(|source| !source.is_allowed(allowed))
        .flat_map(|source| source.lines_where(&is_wrong))
        .collect();
    assert!(offences.is_empty(), "{rule}:\n{}", offences.join("\n"));
}

#[test]
fn only_the_addon_names_napi() {
    only_in(&["src/node/"], "napi belongs into src/node", |line| {
        has_word(line, "napi") || has_word(line, "napi_derive")
    });
}

#[test]
fn only_the_command_line_names_clap() {
    only_in(&["src/cli/"], "clap belongs into src/cli", |line| {
        has_word(line, "clap")
    });
}

#[test]
fn only_control_turns_json_text_into_values_and_back() {
    let allowed = [
        "src/control/",
        // What keeper and engine tell each other.
        "src/keeper/message.rs",
        // What a keeper leaves to the program that takes its place.
        "src/keeper/replacement.rs",
        // What a retired engine and the one that serves tell each other.
        "src/keeper/handover.rs",
        // What one engine leaves to the next.
        "src/host/estate.rs",
        // The daemon's state on disk, a format of its own.
        "src/daemon/state/file.rs",
        // The file that names the release to begin with.
        "src/daemon/resume_file.rs",
        // Prints results that control has read.
        "src/cli/output.rs",
        // Reads config files and what Node makes of them.
        "src/config/evaluate.rs",
        // The table of fields holds defaults as JSON text.
        "src/config/checked.rs",
        "src/config/schema.rs",
        // Config values cross from JavaScript as JSON text.
        "src/node/config.rs",
        // The proxy's own answer to a client that prefers JSON.
        "src/proxy/refusal.rs",
    ];
    only_in(&allowed, "only control reads and writes the wire JSON", |line| {
        let of_serde = line.contains("serde_json::");
        of_serde
            && line
                .split(|next| !is_word(next))
                .any(|word| word.starts_with("from_") || word.starts_with("to_"))
    });
}

#[test]
fn json_is_built_only_where_it_leaves_the_program() {
    let allowed = [
        "src/control/",
        // Requests, from arguments.
        "src/cli/",
        // `validate --json` and the JSON Schema.
        "src/config/report.rs",
        "src/config/schema.rs",
        // Answers to JavaScript.
        "src/node/config.rs",
        // The proxy's own answer to a client that prefers JSON.
        "src/proxy/refusal.rs",
    ];
    only_in(&allowed, "this room has typed values instead of JSON", |line| {
        line.contains("json!")
    });
}

#[test]
fn only_the_host_forks_signals_and_waits() {
    let allowed = [
        "src/host/",
        "src/keeper/",
        // The evaluator ends the Node that evaluates a config module.
        "src/config/evaluate.rs",
        // Ends the engine of a test.
        "src/fail_point.rs",
    ];
    let functions = ["fork", "kill", "killpg", "waitid", "waitpid", "wait4", "pre_exec"];
    only_in(&allowed, "processes are reached through ProcessHost", |line| {
        functions.iter().any(|name| uses_function(line, name))
            || line.contains(".pre_exec(")
            || line.contains("Command::new(")
    });
}

#[test]
fn only_the_addon_and_the_keeper_replace_their_process() {
    only_in(
        &[
            "src/node/become_binary.rs",
            "src/host/platform/linux/replacing.rs",
        ],
        "nothing else calls exec",
        |line| {
            ["execv", "execve", "execvp", "execvpe", "fexecve"]
                .iter()
                .any(|name| uses_function(line, name))
        },
    );
}

#[test]
fn unsafe_stays_in_the_host_and_the_keeper() {
    only_in(
        &["src/host/", "src/keeper/"],
        "unsafe code belongs into src/host and src/keeper",
        |line| has_word(line, "unsafe") || has_word(line, "unsafe_code"),
    );
}

#[test]
fn systems_differ_in_one_place() {
    let is_elsewhere = |source: &&Source| !source.path.starts_with("src/host/platform/");
    let sources = sources();
    let mut offences = Vec::new();
    for source in sources.iter().filter(is_elsewhere) {
        offences.extend(source.lines_where(|line| has_word(line, "target_os")));
        // In a path, so inside of a literal; what is blank in the code there is none of a comment or a test.
        let lines = without_tests(&source.text).lines().zip(source.code.lines());
        let names_proc = lines.filter(|(line, code)| line.contains("\"/proc") && !code.trim().is_empty());
        offences.extend(names_proc.map(|(line, _)| format!("{}: {}", source.path, line.trim())));
    }
    assert!(
        offences.is_empty(),
        "what only some systems have belongs into src/host/platform:\n{}",
        offences.join("\n")
    );
}

#[test]
fn nothing_panics_for_convenience() {
    only_in(
        &[],
        "return an error, or say with expect what always holds",
        |line| line.contains(".unwrap()") || line.contains("todo!(") || line.contains("unimplemented!("),
    );
}

#[test]
fn every_file_is_in_a_known_room() {
    let rooms: Vec<&str> = FLOORS.concat();
    let strangers: Vec<String> = sources()
        .into_iter()
        .filter(|source| !DOORS.contains(&source.path.as_str()) && !rooms.contains(&source.room()))
        .map(|source| source.path)
        .collect();
    assert!(
        strangers.is_empty(),
        "give these a place in FLOORS and in docs/architecture.md: {strangers:?}"
    );
}

#[test]
fn rooms_use_only_rooms_below_them() {
    let floor_of = |room: &str| FLOORS.iter().position(|floor| floor.contains(&room));
    let mut offences = BTreeSet::new();
    for source in sources()
        .iter()
        .filter(|source| !DOORS.contains(&source.path.as_str()))
    {
        let own = floor_of(source.room());
        let leaves = |line: &str| {
            line.match_indices("crate::").any(|(at, path)| {
                let rest = &line[at + path.len()..];
                let room = rest.split(|next| !is_word(next)).next().unwrap_or_default();
                room != source.room() && floor_of(room) <= own
            })
        };
        offences.extend(source.lines_where(leaves));
        // From the front file of a room, `super` is the crate, and would hide which room is meant.
        let is_front = source.path.ends_with("/mod.rs") || source.path.matches('/').count() == 1;
        if is_front && source.path.matches('/').count() <= 2 {
            offences.extend(source.lines_where(|line| line.contains("super::")));
        }
    }
    assert!(
        offences.is_empty(),
        "these reach up or sideways:\n{}",
        Vec::from_iter(offences).join("\n")
    );
}

#[test]
fn a_file_can_be_read_in_one_sitting() {
    let long: Vec<String> = sources()
        .into_iter()
        .map(|source| (without_tests(&source.text).lines().count(), source.path))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    assert!(
        long.is_empty(),
        "split these into files of one concept each: {long:?}"
    );
}

#[test]
fn main_only_hands_over() {
    let main = fs::read_to_string("src/main.rs").expect("the binary has a main file");
    assert!(main.lines().count() <= 40, "src/main.rs holds no logic");
}

#[test]
fn files_say_what_they_own_and_are_named_after_it() {
    let vague = ["utils", "util", "helpers", "helper", "manager", "common", "misc"];
    for source in sources() {
        assert!(
            source.text.starts_with("//! "),
            "{} does not begin with what it owns",
            source.path
        );
        let stem = Path::new(&source.path).file_stem().and_then(|stem| stem.to_str());
        assert!(
            stem.is_some_and(|stem| !vague.contains(&stem)),
            "{} says nothing by its name",
            source.path
        );
    }
}

#[test]
fn the_rules_see_code_and_nothing_else() {
    let code =
        "let a = \"kill(1)\"; // kill(2)\nlet b = r#\"kill(3)\"#; /* kill(4) */ kill(5); '\"'; 'k; x.kill(6)";
    let blanked = blank(code);
    assert_eq!(blanked.lines().count(), 2);
    assert!(!blanked.contains("(1)") && !blanked.contains("(2)"));
    assert!(!blanked.contains("(3)") && !blanked.contains("(4)"));
    assert!(blanked.contains("kill(5)") && blanked.ends_with("k; x.kill(6)"));
    assert!(uses_function("    kill(pid, signal)", "kill"));
    assert!(uses_function("use nix::sys::signal::{Signal, kill};", "kill"));
    assert!(!uses_function("    self.kill()", "kill"));
    assert!(!uses_function("    fn kill(&mut self) {", "kill"));
    assert!(!uses_function("    EndHook => skill(1)", "kill"));
}
