//! Every text is a template. What is filled in is never read as a template again.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollbridge::config::{NoValue, Template, Variables};

use crate::run::fuzz;

fn variables() -> Variables {
    let environment = BTreeMap::from([("HOME".into(), "/home/{{port}}".into())]);
    Variables {
        application: "app".to_owned(),
        process_id: "web".to_owned(),
        release_id: "r1".to_owned(),
        release_path: "/srv/{{releaseId}}".into(),
        revision: Some("{{revision}}".to_owned()),
        replica_index: 0,
        replica_count: 1,
        port: Some(4000),
        ports: BTreeMap::from([("web".to_owned(), 4000), ("a.b".to_owned(), 4001)]),
        proxy_host: "127.0.0.1".to_owned(),
        proxy_port: 80,
        proxy_upstream_host: "127.0.0.1".to_owned(),
        daemon_environment: Arc::new(environment),
    }
}

/// The value of a name, by a second way.
fn value(name: &str) -> Option<&'static str> {
    Some(match name {
        "releasePath" => "/srv/{{releaseId}}",
        "releaseId" => "r1",
        "revision" => "{{revision}}",
        "application" => "app",
        "processId" => "web",
        "port" | "ports.web" => "4000",
        "ports.a.b" => "4001",
        "replicaIndex" => "0",
        "replicaCount" => "1",
        "proxy.port" => "80",
        "proxy.host" | "proxy.upstreamHost" => "127.0.0.1",
        "env.HOME" => "/home/{{port}}",
        _ => return None,
    })
}

/// What must come out, found by looking at each place anew.
fn expected(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((inside, after)) = rest.strip_prefix("{{").and_then(|inside| inside.split_once("}}")) {
            let name = inside.trim_matches([' ', '\t']);
            let is_name = |one: char| one.is_ascii_alphanumeric() || matches!(one, '_' | '.' | '-');
            if !name.is_empty() && name.chars().all(is_name) {
                out.push_str(value(name).ok_or(name)?);
                rest = after;
                continue;
            }
        }
        out.push(first);
        rest = &rest[first.len_utf8()..];
    }
    Ok(out)
}

#[test]
fn template() {
    let variables = variables();
    fuzz("template", |text, _| {
        let text = String::from_utf8_lossy(text);
        let rendered = Template::parse(&text).render(&variables);
        let rendered = rendered.map_err(|NoValue(name)| name);
        let expected = expected(&text);
        match rendered == expected {
            true => Ok(()),
            false => Err(format!("rendered {rendered:?}, expected {expected:?}")),
        }
    });
}
