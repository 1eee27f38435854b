//! Finding and judging configs for JavaScript.

use std::path::{Path, PathBuf};

use napi_derive::napi;
use serde_json::{Value, json};

use crate::config::{self, Config, ConfigFile, Content, Control, Origin, Principal, Problem};

/// Where the config is: the given path, or the first of the usual names in `cwd`. As `{path}` for a module,
/// `{path, value}` for JSON, and `{error, code}` for what cannot be read.
#[napi(catch_unwind)]
pub fn config_file(path: Option<String>, cwd: String) -> String {
    let found = config::locate(path.as_deref().map(Path::new), Path::new(&cwd))
        .and_then(|file| Ok((config::read(&file)?, file)));
    match found {
        Ok((Content::Module, file)) => json!({ "path": file.path }),
        Ok((Content::Json(value), file)) => json!({ "path": file.path, "value": value }),
        Err(error) => json!({ "error": error.to_string(), "code": error.code().as_str() }),
    }
    .to_string()
}

/// Judges a config value, as `{config, issues, warnings, message}`; `config` is null if there are issues, and
/// `message` then lists them.
#[napi(catch_unwind)]
pub fn check_config(
    value_json: String,
    problems_json: String,
    file: Option<String>,
    folder: String,
) -> napi::Result<String> {
    let value: Value = parse(&value_json)?;
    let found: Value = parse(&problems_json)?;
    let problem = |found: &Value| {
        let kind = found["kind"].as_str().unwrap_or_default();
        Problem::at(
            found["path"].as_array().map(Vec::as_slice).unwrap_or_default(),
            kind,
            &value,
        )
    };
    let problems: Vec<Problem> = found.as_array().into_iter().flatten().map(problem).collect();
    let report = config::examine_value(&value, &problems, &origin(file, folder));
    let mut answer = report.json();
    if let (Some(config), Some(summary)) = (&report.config, answer["config"].as_object_mut()) {
        summary.insert("control".to_owned(), control_json(&config.control));
        summary.insert("statePath".to_owned(), json!(config.state_path));
    }
    if !report.is_valid() {
        answer["message"] = report.text().into();
    }
    Ok(answer.to_string())
}

/// The config that [`check_config`] has found valid.
pub(super) fn config_of(value_json: &str, file: Option<String>, folder: String) -> napi::Result<Config> {
    let report = config::examine_value(&parse(value_json)?, &[], &origin(file, folder));
    let text = report.text();
    report.config.ok_or_else(|| napi::Error::from_reason(text))
}

fn origin(file: Option<String>, folder: String) -> Origin {
    match file {
        Some(file) => Origin::of(&ConfigFile::at(Path::new(&file), Path::new(&folder))),
        None => Origin {
            application: Path::new(&folder)
                .file_name()
                .map(|name| name.to_string_lossy().into_owned()),
            folder: PathBuf::from(folder),
            path: None,
            shown: "the config object".to_owned(),
        },
    }
}

fn control_json(control: &Control) -> Value {
    let principal = |principal: &Option<Principal>| match principal {
        None => Value::Null,
        Some(Principal::Id(id)) => (*id).into(),
        Some(Principal::Name(name)) => name.clone().into(),
    };
    json!({ "path": control.path, "owner": principal(&control.owner), "group": principal(&control.group) })
}

/// The control socket of a checked config, as [`check_config`] gave it.
pub(super) fn control_of(control_json: &str) -> napi::Result<Control> {
    let control: Value = parse(control_json)?;
    let principal = |field: &str| match &control[field] {
        Value::Number(id) => id
            .as_u64()
            .and_then(|id| u32::try_from(id).ok())
            .map(Principal::Id),
        Value::String(name) => Some(Principal::Name(name.clone())),
        _ => None,
    };
    let path = control["path"].as_str().unwrap_or_default();
    Ok(Control {
        path: path.into(),
        mode: None,
        owner: principal("owner"),
        group: principal("group"),
    })
}

pub(super) fn parse(json: &str) -> napi::Result<Value> {
    serde_json::from_str(json).map_err(|error| napi::Error::from_reason(error.to_string()))
}
