//! The fields of one managed process.

use super::{
    AMOUNT, DEPLOY_STRATEGIES, Fallback, Field, INDEFINITE, MAX_INTEGER, POLICIES, POSITIVE_AMOUNT, Shape,
    TEXT, TextRule,
};

/// An element of `processes`
pub const PROCESS: &[Field] = &[
    Field {
        name: "id",
        shape: Shape::Text(TextRule::ProcessId),
        fallback: Fallback::Required,
        example: r#"id: "web""#,
        about: "Name of the process, unique in the config.",
    },
    Field {
        name: "policy",
        shape: Shape::Word(POLICIES),
        fallback: Fallback::Value(r#""companion""#),
        example: r#"policy: "proxied""#,
        about: "Life cycle: `proxied` receives the traffic, `companion` belongs to a release, `singleton` never runs \
                twice, `service` outlives releases.",
    },
    Field {
        name: "command",
        shape: TEXT,
        fallback: Fallback::Required,
        example: r#"command: "node server.js --port {{port}}""#,
        about: "Shell command that starts the process. Placeholders such as `{{port}}` are filled in at each start.",
    },
    Field {
        name: "cwd",
        shape: TEXT,
        fallback: Fallback::Described("the release path"),
        example: r#"cwd: "{{releasePath}}/backend""#,
        about: "Working directory, with placeholders. A relative one starts at the release path.",
    },
    Field {
        name: "env",
        shape: Shape::Environment,
        fallback: Fallback::Value("{}"),
        example: r#"env: {NODE_ENV: "production"}"#,
        about: "Environment variables on top of the daemon's. Values may contain placeholders.",
    },
    Field {
        name: "port",
        shape: Shape::Either(&[Shape::Integer { min: 0, max: 65535 }, Shape::Object(PORT_RANGE)]),
        fallback: Fallback::Nothing,
        example: "port: {from: 18182, to: 18299}",
        about: "Port for the process: a fixed one (0 takes any free one), or a range, so that releases can overlap.",
    },
    Field {
        name: "health",
        shape: Shape::Either(&[Shape::False, Shape::Object(HEALTH)]),
        fallback: Fallback::Described("on, with the proxy's health path and timeout"),
        example: r#"health: {path: "/ping", timeoutMs: 30000}"#,
        about: "Health check of the proxied process before it gets traffic. `false` switches as soon as it is started.",
    },
    Field {
        name: "stopSignal",
        shape: Shape::Signal,
        fallback: Fallback::Value(r#""SIGTERM""#),
        example: r#"stopSignal: "SIGINT""#,
        about: "Signal that asks the process to finish.",
    },
    Field {
        name: "gracefulStopMs",
        shape: Shape::Either(&[AMOUNT, Shape::Word(&[INDEFINITE])]),
        fallback: Fallback::Described("proxy.forceStopTimeoutMs"),
        example: "gracefulStopMs: 60000",
        about: "Milliseconds between the stop signal and SIGKILL. `\"indefinite\"` never kills.",
    },
    Field {
        name: "restartDelayMs",
        shape: AMOUNT,
        fallback: Fallback::Value("1000"),
        example: "restartDelayMs: 1000",
        about: "Milliseconds between a crash and the restart.",
    },
    Field {
        name: "restart",
        shape: Shape::Object(RESTART),
        fallback: Fallback::Value("{}"),
        example: "restart: {maxRestarts: 5, windowMs: 60000, backoffFactor: 2, maxDelayMs: 30000}",
        about: "How often and how fast a crashed process is restarted. Without it: always, after `restartDelayMs`.",
    },
    Field {
        name: "memory",
        shape: Shape::Object(MEMORY),
        fallback: Fallback::Nothing,
        example: "memory: {limitBytes: 536870912, warnBytes: 402653184}",
        about: "Restarts the process gracefully when its whole process group uses too much resident memory.",
    },
    Field {
        name: "lifecycle",
        shape: Shape::Object(LIFECYCLE),
        fallback: Fallback::Value("{}"),
        example: r#"lifecycle: {quietCommand: "bin/worker quiet"}"#,
        about: "Shell commands that take part in stopping the process. Placeholders are not filled in here.",
    },
    Field {
        name: "nonBlockingDrain",
        shape: Shape::Boolean,
        fallback: Fallback::Value("false"),
        example: "nonBlockingDrain: true",
        about: "Companions only: stops as soon as its release is retired instead of waiting for the connections to drain.",
    },
    Field {
        name: "replicas",
        shape: Shape::Integer { min: 1, max: 1000 },
        fallback: Fallback::Value("1"),
        example: "replicas: 4",
        about: "How many identical instances run. More than one only for a companion without a port.",
    },
    Field {
        name: "deployStrategy",
        shape: Shape::Word(DEPLOY_STRATEGIES),
        fallback: Fallback::Value(r#""persistent""#),
        example: r#"deployStrategy: "handoff""#,
        about: "Services only: `persistent` keeps one instance across deploys, `handoff` starts a new one beside the old.",
    },
    Field {
        name: "outputLines",
        shape: Shape::Integer {
            min: 1,
            max: 1_000_000,
        },
        fallback: Fallback::Value("50"),
        example: "outputLines: 200",
        about: "How many recent lines of output are kept.",
    },
];

/// `port` as a range
pub const PORT_RANGE: &[Field] = &[
    Field {
        name: "from",
        shape: Shape::Integer { min: 1, max: 65535 },
        fallback: Fallback::Required,
        example: "from: 18182",
        about: "Lowest port of the range.",
    },
    Field {
        name: "to",
        shape: Shape::Integer { min: 1, max: 65535 },
        fallback: Fallback::Required,
        example: "to: 18299",
        about: "Highest port of the range.",
    },
];

/// `health`
pub const HEALTH: &[Field] = &[
    Field {
        name: "path",
        shape: Shape::Text(TextRule::RequestPath),
        fallback: Fallback::Described("proxy.healthPath"),
        example: r#"path: "/ping""#,
        about: "Path asked for; any 2xx answer means healthy.",
    },
    Field {
        name: "timeoutMs",
        shape: POSITIVE_AMOUNT,
        fallback: Fallback::Described("proxy.healthTimeoutMs"),
        example: "timeoutMs: 30000",
        about: "Milliseconds the process may take to become healthy, counted after `startDelayMs`.",
    },
    Field {
        name: "intervalMs",
        shape: POSITIVE_AMOUNT,
        fallback: Fallback::Value("250"),
        example: "intervalMs: 250",
        about: "Longest pause between two probes, in milliseconds. The first ones follow each other faster.",
    },
    Field {
        name: "startDelayMs",
        shape: AMOUNT,
        fallback: Fallback::Value("0"),
        example: "startDelayMs: 2000",
        about: "Milliseconds from the start of the process to the first probe.",
    },
    Field {
        name: "requestTimeoutMs",
        shape: POSITIVE_AMOUNT,
        fallback: Fallback::Value("5000"),
        example: "requestTimeoutMs: 5000",
        about: "Milliseconds a single probe may take.",
    },
];

/// `restart`
pub const RESTART: &[Field] = &[
    Field {
        name: "maxRestarts",
        shape: Shape::Integer {
            min: 0,
            max: u32::MAX as u64,
        },
        fallback: Fallback::Described("unlimited"),
        example: "maxRestarts: 5",
        about: "How many restarts are allowed within `windowMs` before the process is left failed. 0 never restarts it.",
    },
    Field {
        name: "windowMs",
        shape: AMOUNT,
        fallback: Fallback::Value("0"),
        example: "windowMs: 60000",
        about: "Milliseconds over which restarts are counted. 0 counts all of them.",
    },
    Field {
        name: "backoffFactor",
        shape: Shape::Number { min: 1.0 },
        fallback: Fallback::Value("1"),
        example: "backoffFactor: 2",
        about: "By how much the delay grows with each restart.",
    },
    Field {
        name: "maxDelayMs",
        shape: AMOUNT,
        fallback: Fallback::Value("0"),
        example: "maxDelayMs: 30000",
        about: "Longest delay before a restart, in milliseconds. 0 sets no limit.",
    },
];

/// `memory`
pub const MEMORY: &[Field] = &[
    Field {
        name: "limitBytes",
        shape: Shape::Integer {
            min: 1,
            max: MAX_INTEGER,
        },
        fallback: Fallback::Required,
        example: "limitBytes: 536870912",
        about: "Resident memory, in bytes, above which the process is restarted.",
    },
    Field {
        name: "warnBytes",
        shape: AMOUNT,
        fallback: Fallback::Value("0"),
        example: "warnBytes: 402653184",
        about: "Resident memory, in bytes, above which an event warns. 0 never warns.",
    },
    Field {
        name: "checkIntervalMs",
        shape: POSITIVE_AMOUNT,
        fallback: Fallback::Value("5000"),
        example: "checkIntervalMs: 5000",
        about: "Milliseconds between two measurements.",
    },
];

/// `lifecycle`
pub const LIFECYCLE: &[Field] = &[
    Field {
        name: "quietCommand",
        shape: TEXT,
        fallback: Fallback::Nothing,
        example: r#"quietCommand: "bin/worker quiet""#,
        about: "Runs first; it tells the process to take on no more work.",
    },
    Field {
        name: "drainCommand",
        shape: TEXT,
        fallback: Fallback::Nothing,
        example: r#"drainCommand: "bin/worker drain""#,
        about: "Runs next and returns when the work at hand is done. Needs `drainTimeoutMs`.",
    },
    Field {
        name: "drainTimeoutMs",
        shape: AMOUNT,
        fallback: Fallback::Value("0"),
        example: "drainTimeoutMs: 60000",
        about: "Milliseconds for draining. Without a `drainCommand`, the time to wait for the process to end by itself.",
    },
    Field {
        name: "stopCommand",
        shape: TEXT,
        fallback: Fallback::Nothing,
        example: r#"stopCommand: "bin/worker stop""#,
        about: "Runs instead of sending the stop signal.",
    },
];
