//! Wrong types and values out of bounds: each is one issue that names its place and has an example in its fix.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::fields::{CONFIG, Field, Shape};

/// The one issue of `value`, which must mention `place`.
fn one_issue(value: &Value, place: &str) -> Issue {
    let report = examine(value);
    assert_eq!(report.issues.len(), 1, "{value} → {:?}", report.issues);
    let issue = report.issues[0].clone();
    assert!(
        issue.message.starts_with(place),
        "{} does not begin with {place}",
        issue.message
    );
    issue
}

#[test]
fn every_field_of_the_daemon_refuses_what_it_cannot_be() {
    let max_and_one = json!(1_u64 << 53);
    let amounts = [
        json!(-1),
        json!(1.5),
        json!("1"),
        json!(true),
        json!([]),
        json!({}),
        json!(1e300),
        max_and_one,
    ];
    let texts = [
        json!(1),
        json!(true),
        json!([]),
        json!({}),
        json!(""),
        json!("  "),
        json!("a\0b"),
    ];
    let cases: [(&str, &str, &[Value]); 20] = [
        ("application", "", &[json!("a/b"), json!("a\nb")]),
        ("application", "", &texts),
        ("control", "", &[json!("x"), json!(1), json!([]), json!(true)]),
        ("control", "path", &texts),
        (
            "control",
            "mode",
            &[
                json!("888"),
                json!("1777"),
                json!("66"),
                json!(512),
                json!(-1),
                json!(6.5),
                json!("+66"),
            ],
        ),
        (
            "control",
            "owner",
            &[
                json!(-1),
                json!(1.5),
                json!(""),
                json!(u32::MAX),
                json!("a:b"),
                json!("99999999999"),
            ],
        ),
        ("control", "group", &[json!([]), json!(true), json!("-1\n")]),
        ("proxy", "host", &texts),
        (
            "proxy",
            "port",
            &[json!(65536), json!(-1), json!("8182"), json!(1.5)],
        ),
        ("proxy", "upstreamHost", &texts),
        (
            "proxy",
            "healthPath",
            &[
                json!("ping"),
                json!("/a b"),
                json!("/é"),
                json!("/a\r\nX: y"),
                json!(1),
            ],
        ),
        ("proxy", "healthTimeoutMs", &[json!(0), json!(-1)]),
        ("proxy", "drainTimeoutMs", &amounts),
        ("proxy", "forceStopTimeoutMs", &amounts),
        ("proxy", "holdTimeoutMs", &amounts),
        ("proxy", "maxHeldRequests", &amounts),
        ("proxy", "maxConnections", &[json!(0), json!(-1)]),
        ("proxy", "clientIdleTimeoutMs", &amounts),
        (
            "proxy",
            "trustedProxies",
            &[json!("10.0.0.0/8"), json!({}), json!(1)],
        ),
        ("statePath", "", &texts),
    ];
    for (object, field, values) in cases {
        for value in values {
            let (place, fields) = match field {
                "" => (object.to_owned(), json!({object: value})),
                _ => (format!("{object}.{field}"), json!({object: {field: value}})),
            };
            let issue = one_issue(&with(fields), &place);
            assert!(
                issue.fix.contains(if field.is_empty() { object } else { field }),
                "{}",
                issue.fix
            );
        }
    }
    for keep in &amounts {
        one_issue(
            &with(json!({"releaseRetention": {"keep": keep}})),
            "releaseRetention.keep",
        );
        one_issue(
            &with(json!({"releaseRetention": {"maxAgeMs": keep}})),
            "releaseRetention.maxAgeMs",
        );
    }
    for network in [json!("10.0.0.0/33"), json!("example.org"), json!(1), json!("")] {
        one_issue(
            &with(json!({"proxy": {"trustedProxies": ["::1", network]}})),
            "proxy.trustedProxies[1]",
        );
    }
}

#[test]
fn every_field_of_a_legacy_takeover_refuses_what_it_cannot_be() {
    let cases = [
        (json!([]), "legacyTakeover must"),
        (json!({"screens": "a"}), "legacyTakeover.screens must"),
        (json!({"screens": [1]}), "legacyTakeover.screens[0] must"),
        (
            json!({"screens": ["a"], "processes": {}}),
            "legacyTakeover.processes must",
        ),
        (json!({"processes": ["a"]}), "legacyTakeover.processes[0] must"),
        (
            json!({"processes": [{}]}),
            "legacyTakeover.processes[0].includes is required",
        ),
        (
            json!({"processes": [{"includes": []}]}),
            "legacyTakeover.processes[0].includes must",
        ),
        (
            json!({"processes": [{"includes": [""]}]}),
            "legacyTakeover.processes[0].includes[0] must",
        ),
        (
            json!({"processes": [{"includes": ["a"], "name": 1}]}),
            "legacyTakeover.processes[0].name must",
        ),
        (
            json!({"screens": ["a"], "forceStopTimeoutMs": -1}),
            "legacyTakeover.forceStopTimeoutMs must",
        ),
    ];
    for (takeover, place) in cases {
        one_issue(&with(json!({"legacyTakeover": takeover})), place);
    }
}

#[test]
fn every_field_of_a_process_refuses_what_it_cannot_be() {
    let cases = [
        ("id", json!(1), "id must be a string"),
        ("id", json!(""), "id must not be empty"),
        ("id", json!("a#1"), "id must not contain #"),
        ("policy", json!("proxyed"), "policy must be \"proxied\" or"),
        ("policy", json!(1), "policy must"),
        ("command", json!(["a"]), "command must"),
        ("command", json!(" "), "command must not be empty"),
        ("cwd", json!(1), "cwd must"),
        ("cwd", json!(""), "cwd must not be empty"),
        ("env", json!("A=1"), "env must"),
        ("env", json!({"A": 1}), "env.A must"),
        ("env", json!({"A=B": "1"}), "env[\"A=B\"] is not"),
        ("env", json!({"": "1"}), "env[\"\"] is not"),
        ("env", json!({"A": "a\0"}), "env.A contains"),
        (
            "port",
            json!("80"),
            "port must be a whole number from 0 to 65535, or an object {from, to}",
        ),
        (
            "port",
            json!(65536),
            "port must be a whole number from 0 to 65535;",
        ),
        (
            "port",
            json!({"from": 0, "to": 5}),
            "port.from must be a whole number from 1 to 65535; got 0",
        ),
        ("port", json!({"from": 5}), "port.to is required"),
        ("port", json!({"from": 5, "to": 70000}), "port.to must"),
        ("health", json!(true), "health must be false, or"),
        ("health", json!({"path": "x"}), "health.path must"),
        ("health", json!({"timeoutMs": 0}), "health.timeoutMs must"),
        ("health", json!({"intervalMs": 0}), "health.intervalMs must"),
        ("health", json!({"startDelayMs": -1}), "health.startDelayMs must"),
        (
            "health",
            json!({"requestTimeoutMs": 0}),
            "health.requestTimeoutMs must",
        ),
        (
            "stopSignal",
            json!("TERM"),
            "stopSignal must be the name of a signal; got \"TERM\"",
        ),
        ("stopSignal", json!(15), "stopSignal must"),
        (
            "gracefulStopMs",
            json!("forever"),
            "gracefulStopMs must be a whole number",
        ),
        ("gracefulStopMs", json!(-1), "gracefulStopMs must"),
        ("restartDelayMs", json!(1.5), "restartDelayMs must"),
        ("restart", json!(5), "restart must"),
        ("restart", json!({"maxRestarts": -1}), "restart.maxRestarts must"),
        (
            "restart",
            json!({"maxRestarts": 1_u64 << 32}),
            "restart.maxRestarts must",
        ),
        ("restart", json!({"windowMs": "1"}), "restart.windowMs must"),
        (
            "restart",
            json!({"backoffFactor": 0.5}),
            "restart.backoffFactor must",
        ),
        ("restart", json!({"maxDelayMs": -1}), "restart.maxDelayMs must"),
        ("memory", json!(1), "memory must"),
        ("memory", json!({}), "memory.limitBytes is required"),
        ("memory", json!({"limitBytes": 0}), "memory.limitBytes must"),
        (
            "memory",
            json!({"limitBytes": 9, "warnBytes": -1}),
            "memory.warnBytes must",
        ),
        (
            "memory",
            json!({"limitBytes": 9, "checkIntervalMs": 0}),
            "memory.checkIntervalMs must",
        ),
        ("lifecycle", json!("x"), "lifecycle must"),
        (
            "lifecycle",
            json!({"quietCommand": 1}),
            "lifecycle.quietCommand must",
        ),
        (
            "lifecycle",
            json!({"drainCommand": ""}),
            "lifecycle.drainCommand must",
        ),
        (
            "lifecycle",
            json!({"drainTimeoutMs": -1}),
            "lifecycle.drainTimeoutMs must",
        ),
        (
            "lifecycle",
            json!({"stopCommand": []}),
            "lifecycle.stopCommand must",
        ),
        (
            "nonBlockingDrain",
            json!("yes"),
            "nonBlockingDrain must be true or false; got \"yes\"",
        ),
        ("replicas", json!(0), "replicas must"),
        ("replicas", json!(1_000_000), "replicas must"),
        (
            "deployStrategy",
            json!("blue-green"),
            "deployStrategy must be \"persistent\" or \"handoff\"",
        ),
        ("outputLines", json!(0), "outputLines must"),
    ];
    for (field, value, message) in cases {
        let id = if field == "id" {
            value.as_str().unwrap_or_default().to_owned()
        } else {
            "web".to_owned()
        };
        let label = if value.is_number() && field == "id" {
            String::new()
        } else {
            format!(" ({id:?})")
        };
        one_issue(
            &with_web(json!({field: value})),
            &format!("processes[0]{label}.{message}"),
        );
    }
}

#[test]
fn what_was_meant_is_suggested() {
    let fix = |value: &Value, place: &str| one_issue(value, place).fix;
    assert!(fix(&with_web(json!({"policy": "proxyed"})), "processes[0]").contains("\"proxied\""));
    assert!(fix(&with_web(json!({"stopSignal": "TERM"})), "processes[0]").contains("\"SIGTERM\""));
    assert!(fix(&with_web(json!({"stopSignal": "sigint"})), "processes[0]").contains("\"SIGINT\""));

    let report = examine(&with_web(json!({"replica": 2, "xyzzy": 1})));
    let texts: Vec<_> = report
        .warnings
        .iter()
        .map(|warning| format!("{} {}", warning.message, warning.fix))
        .collect();
    assert!(report.is_valid() && texts.len() == 2, "{texts:?}");
    assert!(
        texts[0].contains("processes[0] (\"web\").replica") && texts[0].contains("Did you mean `replicas`?")
    );
    assert!(
        texts[1].contains("xyzzy") && texts[1].contains("command"),
        "{texts:?}"
    );
    assert_eq!(
        warnings(&with(json!({"proxy": {"healthpath": "/x"}}))),
        ["Unknown key proxy.healthpath"]
    );
}

#[test]
fn the_config_itself_must_be_an_object() {
    for value in [json!([]), json!("text"), json!(1), json!(null), json!(true)] {
        one_issue(&value, "The config must be an object; got ");
    }
}

#[test]
fn secrets_never_appear() {
    let secret = "hunter2";
    let config = json!({"processes": [
        {"id": "web", "policy": "proxied", "command": "x", "env": {"A": secret, "B": [secret], "C": format!("{secret}\0")}},
        {"id": "a", "command": "x", "env": format!("TOKEN={secret}")},
        {"id": "b", "command": "x", "env": {"D": format!("{secret}{{{{nope}}}}"), "E": 4711}},
    ]});
    let report = examine(&config);
    assert!(report.issues.len() >= 5, "{:?}", report.issues);
    let text = format!("{} {:?} {}", report.text(), report, report.json());
    assert!(!text.contains(secret) && !text.contains("4711"), "{text}");
}

#[test]
fn every_mistake_of_a_config_is_reported_in_its_order() {
    let config = json!({
        "processes": [{"command": 1, "id": "web"}, 5, {"policy": "proxied"}],
        "proxy": {"port": "x"},
        "application": 1,
    });
    let expected = [
        "processes[0] (\"web\").command must be a string; got 1",
        "processes[1] must be an object {id, policy, command, cwd, …}; got 5",
        "processes[2].id is required",
        "processes[2].command is required",
        "processes[2] is proxied and must define a port",
        "proxy.port must be a whole number from 0 to 65535; got \"x\"",
        "application must be a string; got 1",
    ];
    assert_eq!(issues(&config), expected);
}

fn arbitrary_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|flag| json!(flag)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,8}".prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((".{0,8}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Values that are often right for a shape, so that the rules behind the shapes are reached.
fn plausible(shape: &'static Shape) -> BoxedStrategy<Value> {
    match shape {
        Shape::Text(_) => prop_oneof![
            Just(json!("web")),
            Just(json!("/ping {{port}}")),
            Just(json!("{{ports.web}}{{ports.x}}{{nope}}")),
        ]
        .boxed(),
        Shape::Integer { min, max } => prop_oneof![*min..=*max, *min..=(*max).min(*min + 3)]
            .prop_map(|number| json!(number))
            .boxed(),
        Shape::Number { min } => (*min..1e9).prop_map(|number| json!(number)).boxed(),
        Shape::Boolean => any::<bool>().prop_map(|flag| json!(flag)).boxed(),
        Shape::False => Just(json!(false)).boxed(),
        Shape::Word(words) => prop::sample::select(words.to_vec())
            .prop_map(|word| json!(word))
            .boxed(),
        Shape::Signal => Just(json!("SIGINT")).boxed(),
        Shape::Mode => Just(json!("660")).boxed(),
        Shape::Principal => Just(json!("deploy")).boxed(),
        Shape::Network => Just(json!("10.0.0.0/8")).boxed(),
        Shape::List { of, .. } => prop::collection::vec(plausible(of), 0..3)
            .prop_map(Value::Array)
            .boxed(),
        Shape::Environment => Just(json!({"A": "{{env.HOME}}"})).boxed(),
        Shape::Object(fields) => plausible_object(fields),
        Shape::Either(shapes) => prop::strategy::Union::new(shapes.iter().map(plausible)).boxed(),
    }
}

fn plausible_object(fields: &'static [Field]) -> BoxedStrategy<Value> {
    let members: Vec<_> = fields
        .iter()
        .map(|field| {
            let value = prop_oneof![
                30 => plausible(&field.shape).prop_map(Some),
                1 => arbitrary_json().prop_map(Some),
                10 => Just(None),
            ];
            value.prop_map(|value| value.map(|value| (field.name.to_owned(), value)))
        })
        .collect();
    members
        .prop_map(|members| Value::Object(members.into_iter().flatten().collect()))
        .boxed()
}

/// Every member exists either as a config or as issues, and every issue can be shown.
fn holds_together(value: &Value) -> Result<(), TestCaseError> {
    let report = examine(value);
    prop_assert_eq!(
        report.config.is_some(),
        report.issues.is_empty(),
        "{}",
        report.text()
    );
    for issue in report.issues.iter().chain(&report.warnings) {
        prop_assert!(
            !issue.message.is_empty() && issue.fix.ends_with(['.', '?']),
            "{:?}",
            issue
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn anything_is_checked_without_a_panic(value in arbitrary_json()) {
        holds_together(&value)?;
    }

    #[test]
    fn anything_like_a_config_is_checked_without_a_panic(value in plausible_object(CONFIG)) {
        holds_together(&value)?;
    }

    #[test]
    fn a_process_is_right_or_says_why(process in plausible_object(fields::PROCESS)) {
        holds_together(&json!({"processes": [process]}))?;
    }
}
