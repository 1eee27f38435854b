//! Places where a test can have the engine end as if it had been killed there. Only in builds for tests.

#[cfg(debug_assertions)]
use std::time::Duration;

/// Names the file whose content is the point at which the engine is to end, once. How it is to end may stand behind that.
#[cfg(debug_assertions)]
const VARIABLE: &str = "ROLLBRIDGE_TEST_FAIL_POINT_FILE";

/// What stands behind this point in the file, if it is the one in there. It is so only once: whoever comes after this engine
/// is to come past the point.
#[cfg(debug_assertions)]
fn wanted(point: &str) -> Option<String> {
    let file = std::env::var_os(VARIABLE)?;
    let wanted = std::fs::read_to_string(&file).ok()?;
    let how = wanted.trim().strip_prefix(point)?;
    // A longer name, which begins with this one, is another point.
    let how = if how.is_empty() {
        how
    } else {
        how.strip_prefix(", ")?
    };
    std::fs::remove_file(&file).ok().map(|()| how.to_owned())
}

/// The engine has come to the point with this name. With `settled`, what was noted before is let out of the process first.
#[cfg(debug_assertions)]
pub(crate) async fn reached(point: &str) {
    let Some(how) = wanted(point) else {
        return;
    };
    if how == "settled" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let own = nix::unistd::getpid();
    // It does not return from this.
    let _ = nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGKILL);
}

/// The engine has come to the point with this name.
#[cfg(not(debug_assertions))]
pub(crate) async fn reached(_: &str) {}

/// An engine that takes over has come to the point with this name. With `halt` it goes no further, with `pause` only a second
/// later; else it ends here.
#[cfg(debug_assertions)]
pub(crate) fn taking_over(point: &str) {
    match wanted(point).as_deref() {
        None => {}
        Some("halt") => std::thread::sleep(Duration::MAX),
        Some("pause") => std::thread::sleep(Duration::from_secs(1)),
        Some(_) => std::process::abort(),
    }
}

/// An engine that takes over has come to the point with this name.
#[cfg(not(debug_assertions))]
pub(crate) fn taking_over(_: &str) {}
