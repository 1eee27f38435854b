//! The program as it was one commit ago: what an upgrade meets in real life.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::copying::copy_program;

/// The version it says it has.
pub const VERSION_BEFORE: &str = "0.0.1";

/// Builds it, once for each commit. Where the commit before this one could not be upgraded yet, or is not there (as in a
/// shallow clone), it is built from this commit, as another version.
pub fn program_before() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let commit = ["HEAD~1", "HEAD"].into_iter().find_map(commit_with_upgrades);
        let commit = commit.expect("a git checkout whose commit has upgrades");
        let folder = root().join("target/before").join(&commit);
        let program = folder.join("rollbridge");
        if !program.exists() {
            build(&commit, &folder, &program);
        }
        program
    })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// In a checkout that may belong to another user.
fn git() -> Command {
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*"]);
    git
}

fn commit_with_upgrades(name: &str) -> Option<String> {
    let has = ["cat-file", "-e", &format!("{name}:src/keeper/succession.rs")];
    let has = git().args(has).current_dir(root()).stderr(Stdio::null()).status();
    has.ok().filter(std::process::ExitStatus::success)?;
    let commit = git().args(["rev-parse", name]).current_dir(root()).output();
    Some(String::from_utf8(commit.ok()?.stdout).ok()?.trim().to_owned())
}

fn build(commit: &str, folder: &Path, program: &Path) {
    let source = tempfile::tempdir().expect("a folder");
    let mut archive = git()
        .args(["archive", commit])
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git is there");
    let unpacked = Command::new("tar")
        .args(["-x", "-C"])
        .arg(source.path())
        .stdin(archive.stdout.take().expect("a pipe"))
        .status();
    assert!(unpacked.expect("tar is there").success());
    assert!(archive.wait().expect("it is our child").success());

    // Under names of its own, so that it can be built beside this one, with the same dependencies.
    let manifest = source.path().join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).expect("a manifest");
    let own = format!("version = \"{}\"", env!("CARGO_PKG_VERSION"));
    let text = text
        .replacen(&own, &format!("version = \"{VERSION_BEFORE}\""), 1)
        .replacen(
            "[[bin]]\nname = \"rollbridge\"",
            "[[bin]]\nname = \"rollbridge-before\"",
            1,
        )
        .replacen("[\"cdylib\", \"rlib\"]", "[\"rlib\"]", 1);
    std::fs::write(&manifest, text).expect("it is ours");
    let target = Path::new(env!("CARGO_BIN_EXE_rollbridge"))
        .ancestors()
        .nth(2)
        .expect("target/debug/rollbridge");
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--bin",
            "rollbridge-before",
            "--manifest-path",
        ])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(target)
        .status();
    assert!(
        built.expect("cargo is there").success(),
        "{commit} cannot be built"
    );
    std::fs::create_dir_all(folder).expect("target is ours");
    // Under its last name only once it is whole: other tests look for it.
    let half = folder.join(format!("half-{}", std::process::id()));
    copy_program(target.join("debug/rollbridge-before"), &half);
    std::fs::rename(&half, program).expect("target is ours");
}
