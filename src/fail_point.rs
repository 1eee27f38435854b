//! Places where a test can have the engine end as if it had been killed there. Only in builds for tests.

/// Names the file whose content is the point at which the engine is to end, once. With `, settled` behind it, what was
/// noted before is let out of the process first.
#[cfg(debug_assertions)]
const VARIABLE: &str = "ROLLBRIDGE_TEST_FAIL_POINT_FILE";

/// The engine has come to the point with this name.
#[cfg(debug_assertions)]
pub(crate) async fn reached(point: &str) {
    let Some(file) = std::env::var_os(VARIABLE) else {
        return;
    };
    let wanted = std::fs::read_to_string(&file).unwrap_or_default();
    let settled = match wanted.trim().strip_prefix(point) {
        Some("") => false,
        Some(", settled") => true,
        _ => return,
    };
    // Removed first: the next engine is to come past this point.
    if std::fs::remove_file(&file).is_ok() {
        if settled {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let own = nix::unistd::getpid();
        // It does not return from this.
        let _ = nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGKILL);
    }
}

/// The engine has come to the point with this name.
#[cfg(not(debug_assertions))]
pub(crate) async fn reached(_: &str) {}

/// An engine that takes over has come to the point with this name. With `, halt` behind that in the file it goes no
/// further, with `, pause` only a second later, else it ends here.
#[cfg(debug_assertions)]
pub(crate) fn taking_over(point: &str) {
    let Some(file) = std::env::var_os(VARIABLE) else {
        return;
    };
    let wanted = std::fs::read_to_string(&file).unwrap_or_default();
    let pause = match wanted.trim().strip_prefix(point) {
        Some("") => None,
        Some(", halt") => Some(std::time::Duration::MAX),
        Some(", pause") => Some(std::time::Duration::from_secs(1)),
        _ => return,
    };
    // Removed first: who comes after this one is to come past this point.
    if std::fs::remove_file(&file).is_err() {
        return;
    }
    match pause {
        Some(pause) => std::thread::sleep(pause),
        None => std::process::abort(),
    }
}

/// An engine that takes over has come to the point with this name.
#[cfg(not(debug_assertions))]
pub(crate) fn taking_over(_: &str) {}
