//! Defaults, and how each written value arrives in the typed config.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn the_smallest_config_has_every_default() {
    let network = |text: &str| text.parse().expect("a network");
    let expected = Config {
        application: "ticket-server".to_owned(),
        control: Control {
            path: PathBuf::from("/tmp/rollbridge-ticket-server.sock"),
            mode: None,
            owner: None,
            group: None,
        },
        proxy: Proxy {
            host: "127.0.0.1".to_owned(),
            port: 8182,
            upstream_host: "127.0.0.1".to_owned(),
            health_path: "/ping".to_owned(),
            health_timeout: MS(30_000),
            drain_timeout: MS(60_000),
            force_stop_timeout: MS(10_000),
            hold_timeout: MS(5_000),
            max_held_requests: 1000,
            max_connections: None,
            client_idle_timeout: MS(75_000),
            trusted_proxies: vec![network("127.0.0.0/8"), network("::1/128")],
        },
        release_retention: Retention {
            keep: 10,
            max_age: None,
        },
        state_path: None,
        legacy_takeover: None,
        processes: vec![ProcessDefinition {
            id: "web".to_owned(),
            policy: Policy::Proxied,
            command: "serve".to_owned(),
            cwd: None,
            env: BTreeMap::new(),
            port: Some(PortSpec::Range {
                from: 18182,
                to: 18299,
            }),
            health: Some(Health {
                path: "/ping".to_owned(),
                timeout: MS(30_000),
                interval: MS(250),
                start_delay: Duration::ZERO,
                request_timeout: MS(5_000),
            }),
            stop_signal: Signal::SIGTERM,
            graceful_stop: GracefulStop::After(MS(10_000)),
            restart_delay: MS(1_000),
            restart: RestartPolicy {
                max_restarts: None,
                window: None,
                backoff_factor: 1.0,
                max_delay: None,
            },
            memory: None,
            lifecycle: Lifecycle {
                quiet_command: None,
                drain_command: None,
                drain_timeout: Duration::ZERO,
                stop_command: None,
            },
            non_blocking_drain: false,
            replicas: 1,
            deploy_strategy: DeployStrategy::Persistent,
            output_lines: 50,
        }],
    };
    assert_eq!(valid(&with(json!({}))), expected);
    let mut with_policy_left_out = with_process(json!({}));
    with_policy_left_out["$schema"] = json!("x");
    assert_eq!(
        valid(&with_policy_left_out).processes[1].policy,
        Policy::Companion
    );
}

#[test]
fn every_field_of_the_daemon_arrives() {
    let config = valid(&with(json!({
        "application": "shop",
        "control": {"path": "run/../shop.sock", "mode": "660", "owner": "deploy", "group": 33},
        "proxy": {
            "host": "10.0.0.1", "port": 80, "upstreamHost": "10.0.0.2", "healthPath": "/up?x=1", "healthTimeoutMs": 1,
            "drainTimeoutMs": 0, "forceStopTimeoutMs": 2, "holdTimeoutMs": 3, "maxHeldRequests": 4, "maxConnections": 5,
            "clientIdleTimeoutMs": 6, "trustedProxies": ["10.0.0.0/8", "::1"],
        },
        "releaseRetention": {"keep": 7, "maxAgeMs": 8},
        "statePath": "./state.json",
        "legacyTakeover": {
            "screens": ["a"], "processes": [{"includes": ["x", "y"], "name": "n"}], "forceStopTimeoutMs": 9,
        },
    })));
    assert_eq!(config.application, "shop");
    let expected = Control {
        path: "/srv/ticket-server/run/../shop.sock".into(),
        mode: Some(0o660),
        owner: Some(Principal::Name("deploy".to_owned())),
        group: Some(Principal::Id(33)),
    };
    assert_eq!(config.control, expected);
    let expected = Proxy {
        host: "10.0.0.1".to_owned(),
        port: 80,
        upstream_host: "10.0.0.2".to_owned(),
        health_path: "/up?x=1".to_owned(),
        health_timeout: MS(1),
        drain_timeout: Duration::ZERO,
        force_stop_timeout: MS(2),
        hold_timeout: MS(3),
        max_held_requests: 4,
        max_connections: Some(5),
        client_idle_timeout: MS(6),
        trusted_proxies: vec![
            "10.0.0.0/8".parse().expect("a network"),
            "::1/128".parse().expect("a network"),
        ],
    };
    assert_eq!(config.proxy, expected);
    assert_eq!(
        config.release_retention,
        Retention {
            keep: 7,
            max_age: Some(MS(8))
        }
    );
    assert_eq!(config.state_path, Some("/srv/ticket-server/state.json".into()));
    let expected = LegacyTakeover {
        screens: vec!["a".to_owned()],
        processes: vec![LegacyProcess {
            includes: vec!["x".to_owned(), "y".to_owned()],
            name: Some("n".to_owned()),
        }],
        force_stop_timeout: MS(9),
    };
    assert_eq!(config.legacy_takeover, Some(expected));
}

#[test]
fn every_field_of_a_process_arrives() {
    let config = valid(&with_process(json!({
        "policy": "companion", "cwd": "x", "env": {"A": "1", "B": "{{env.HOME}}"}, "port": 0, "stopSignal": "SIGINT",
        "gracefulStopMs": "indefinite", "restartDelayMs": 1,
        "restart": {"maxRestarts": 0, "windowMs": 2, "backoffFactor": 1.5, "maxDelayMs": 3},
        "memory": {"limitBytes": 5, "warnBytes": 4, "checkIntervalMs": 6},
        "lifecycle": {"quietCommand": "q", "drainCommand": "d", "drainTimeoutMs": 7},
        "nonBlockingDrain": true, "replicas": 1, "outputLines": 8,
    })));
    let process = &config.processes[1];
    let expected = ProcessDefinition {
        id: "other".to_owned(),
        policy: Policy::Companion,
        command: "run".to_owned(),
        cwd: Some("x".to_owned()),
        env: BTreeMap::from([
            ("A".to_owned(), "1".to_owned()),
            ("B".to_owned(), "{{env.HOME}}".to_owned()),
        ]),
        port: Some(PortSpec::Fixed(0)),
        health: None,
        stop_signal: Signal::SIGINT,
        graceful_stop: GracefulStop::Indefinite,
        restart_delay: MS(1),
        restart: RestartPolicy {
            max_restarts: Some(0),
            window: Some(MS(2)),
            backoff_factor: 1.5,
            max_delay: Some(MS(3)),
        },
        memory: Some(MemoryPolicy {
            limit_bytes: 5,
            warn_bytes: Some(4),
            check_interval: MS(6),
        }),
        lifecycle: Lifecycle {
            quiet_command: Some("q".to_owned()),
            drain_command: Some("d".to_owned()),
            drain_timeout: MS(7),
            stop_command: None,
        },
        non_blocking_drain: true,
        replicas: 1,
        deploy_strategy: DeployStrategy::Persistent,
        output_lines: 8,
    };
    assert_eq!(*process, expected);

    let service = json!({"policy": "service", "deployStrategy": "handoff", "port": {"from": 1, "to": 2}});
    assert_eq!(
        valid(&with_process(service)).processes[1].deploy_strategy,
        DeployStrategy::Handoff
    );
    let pool = valid(&with_process(
        json!({"replicas": 4, "lifecycle": {"stopCommand": "s"}}),
    ));
    assert_eq!(
        (
            pool.processes[1].replicas,
            pool.processes[1].lifecycle.stop_command.as_deref()
        ),
        (4, Some("s"))
    );
}

#[test]
fn health_takes_the_rest_from_the_proxy() {
    let mut config = with_web(json!({"health": {"startDelayMs": 5}}));
    config["proxy"] = json!({"healthPath": "/up", "healthTimeoutMs": 99});
    let health = valid(&config).processes[0].health.clone().expect("it is on");
    assert_eq!(
        (health.path.as_str(), health.timeout, health.start_delay),
        ("/up", MS(99), MS(5))
    );
    assert_eq!(
        valid(&with_web(json!({"health": false}))).processes[0].health,
        None
    );
    let own = valid(&with_web(
        json!({"health": {"path": "/own", "timeoutMs": 7, "intervalMs": 1, "requestTimeoutMs": 2}}),
    ));
    let own = own.proxied().health.clone().expect("it is on");
    assert_eq!(
        (own.path.as_str(), own.timeout, own.interval, own.request_timeout),
        ("/own", MS(7), MS(1), MS(2))
    );
}

#[test]
fn stop_timeouts_come_from_the_proxy() {
    let config = valid(&with(json!({
        "proxy": {"forceStopTimeoutMs": 77}, "legacyTakeover": {"screens": ["a"]},
    })));
    assert_eq!(config.processes[0].graceful_stop, GracefulStop::After(MS(77)));
    assert_eq!(
        config.legacy_takeover.map(|takeover| takeover.force_stop_timeout),
        Some(MS(77))
    );
    let at_once = valid(&with_web(json!({"gracefulStopMs": 0})));
    assert_eq!(
        at_once.processes[0].graceful_stop,
        GracefulStop::After(Duration::ZERO)
    );
}

#[test]
fn upstream_host_follows_the_host() {
    let cases = [
        ("10.1.2.3", "10.1.2.3"),
        ("localhost", "localhost"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "127.0.0.1"),
        ("[::]", "127.0.0.1"),
        ("::1", "::1"),
    ];
    for (host, upstream) in cases {
        assert_eq!(
            valid(&with(json!({"proxy": {"host": host}}))).proxy.upstream_host,
            upstream
        );
    }
}

#[test]
fn null_means_unset_everywhere() {
    let nothing = json!({
        "application": null, "control": null, "proxy": {"host": null, "trustedProxies": null}, "releaseRetention": null,
        "statePath": null, "legacyTakeover": null, "someUnknownKey": null,
    });
    let mut config = with(nothing);
    merge(
        &mut config["processes"][0],
        json!({
            "cwd": null, "env": {"A": null}, "health": null, "stopSignal": null, "gracefulStopMs": null, "restart": null,
            "memory": null, "lifecycle": {"quietCommand": null}, "replicas": null, "deployStrategy": null,
        }),
    );
    config["processes"]
        .as_array_mut()
        .expect("a list")
        .insert(0, json!(null));
    assert_eq!(valid(&config), valid(&with(json!({}))));
    assert_eq!(warnings(&config), Vec::<String>::new());
}

#[test]
fn the_application_is_named_after_the_folder() {
    let value = with(json!({}));
    let at = |path: &str| {
        let origin = Origin::of(&ConfigFile::at(Path::new(path), Path::new("/")));
        let (config, verdict) = validate(&value, &[], &origin);
        (config.map(|config| config.application), verdict.issues)
    };
    assert_eq!(
        at("/srv/shop/current/rollbridge.js").0.as_deref(),
        Some("current")
    );
    let (config, issues) = at("/rollbridge.js");
    assert_eq!(config, None);
    assert!(
        issues.len() == 1 && issues[0].message.starts_with("application is required"),
        "{issues:?}"
    );
}

#[test]
fn numbers_may_be_written_in_any_way() {
    for (port, expected) in [(json!(8000.0), 8000), (json!(8e3), 8000), (json!(-0.0), 0)] {
        assert_eq!(
            valid(&with(json!({"proxy": {"port": port}}))).proxy.port,
            expected
        );
    }
}

#[test]
fn permissions_may_be_written_in_any_way() {
    for mode in [
        json!("660"),
        json!("0660"),
        json!("0o660"),
        json!(0o660),
        json!(432.0),
    ] {
        assert_eq!(
            valid(&with(json!({"control": {"mode": mode}}))).control.mode,
            Some(0o660),
            "{mode}"
        );
    }
}

#[test]
fn ids_of_users_may_be_text() {
    let owner = |owner: Value| valid(&with(json!({"control": {"owner": owner}}))).control.owner;
    assert_eq!(owner(json!("1000")), Some(Principal::Id(1000)));
    assert_eq!(owner(json!(0)), Some(Principal::Id(0)));
    assert_eq!(
        owner(json!("www-data")),
        Some(Principal::Name("www-data".to_owned()))
    );
}

#[test]
fn a_definition_can_be_logged_without_its_secrets() {
    let config = valid(&with_web(json!({"env": {"TOKEN": "hunter2"}})));
    let logged = format!("{config:?}");
    assert!(
        logged.contains("TOKEN") && !logged.contains("hunter2"),
        "{logged}"
    );
}
