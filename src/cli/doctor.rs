//! `rollbridge doctor`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::DoctorOptions;
use super::failure::Failure;
use super::style::{Paint, Tone};
use super::{deploy, figures, output};
use crate::config::ConfigFile;
use crate::error::ErrorCode;
use crate::ops::doctor::{Candidate, Check, examine};

pub(super) async fn run(file: &ConfigFile, options: &DoctorOptions) -> Result<ExitCode, Failure> {
    let candidate = match &options.release_path {
        None => None,
        Some(path) => Some(Candidate {
            path: deploy::absolute(path)?,
            id: options.release_id.clone(),
            revision: options.revision.clone(),
        }),
    };
    let checks = examine(file, candidate.as_ref()).await;
    match options.json {
        true => output::print_json(&as_json(&checks))?,
        false => output::print(&readable(&checks, Paint::of_stdout()))?,
    }
    // The report itself is the message.
    Ok(match is_well(&checks) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(ErrorCode::Internal.exit_status()),
    })
}

fn is_well(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.ok)
}

fn as_json(checks: &[Check]) -> Value {
    let check = |check: &Check| json!({ "name": check.name, "ok": check.ok, "detail": check.detail });
    json!({ "checks": checks.iter().map(check).collect::<Vec<_>>(), "ok": is_well(checks) })
}

fn readable(checks: &[Check], paint: Paint) -> String {
    let line = |check: &Check| {
        let mark = match check.ok {
            true => paint.apply(Tone::Good, "✓"),
            false => paint.apply(Tone::Bad, "✗"),
        };
        format!("{mark} {}: {}\n", check.name, check.detail)
    };
    let lines: String = checks.iter().filter(|check| check.is_shown).map(line).collect();
    let failed = checks.iter().filter(|check| !check.ok).count() as u64;
    match failed {
        0 => format!("{lines}\nAll checks passed."),
        failed => format!("{lines}\n{} failed.", figures::count(failed, "check", "checks")),
    }
}
