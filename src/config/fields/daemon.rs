//! The fields that concern the whole daemon.

use super::{AMOUNT, Fallback, Field, MAX_INTEGER, POSITIVE_AMOUNT, PROCESS, Shape, TEXT, TextRule};

/// The config itself.
pub const CONFIG: &[Field] = &[
    Field {
        name: "$schema",
        shape: TEXT,
        fallback: Fallback::Nothing,
        example: r#""$schema": "./node_modules/rollbridge/schema/rollbridge.schema.json""#,
        about: "Where editors find the JSON Schema of this file. Rollbridge ignores it.",
    },
    Field {
        name: "application",
        shape: Shape::Text(TextRule::Application),
        fallback: Fallback::Described("the name of the config file's folder"),
        example: r#"application: "ticket-server""#,
        about: "Name of the application. It tells daemons on one machine apart and is part of default file names.",
    },
    Field {
        name: "control",
        shape: Shape::Object(CONTROL),
        fallback: Fallback::Value("{}"),
        example: r#"control: {path: "/run/ticket-server/rollbridge.sock"}"#,
        about: "The Unix socket through which commands reach the daemon.",
    },
    Field {
        name: "proxy",
        shape: Shape::Object(PROXY),
        fallback: Fallback::Value("{}"),
        example: r#"proxy: {host: "127.0.0.1", port: 8182}"#,
        about: "The stable address that receives traffic, and how traffic moves between releases.",
    },
    Field {
        name: "processes",
        shape: Shape::List {
            of: &Shape::Object(PROCESS),
            min_length: 0,
        },
        fallback: Fallback::Required,
        example: r#"processes: [{id: "web", policy: "proxied", command: "node server.js --port {{port}}", port: {from: 18182, to: 18299}}]"#,
        about: "Everything Rollbridge runs; exactly one of them is proxied.",
    },
    Field {
        name: "releaseRetention",
        shape: Shape::Object(RELEASE_RETENTION),
        fallback: Fallback::Value("{}"),
        example: "releaseRetention: {keep: 5}",
        about: "How long stopped releases stay listed and can be rolled back to. Folders on disk are never touched.",
    },
    Field {
        name: "statePath",
        shape: TEXT,
        fallback: Fallback::Nothing,
        example: r#"statePath: "/var/lib/rollbridge/ticket-server.state.json""#,
        about: "File in which the daemon records its state, so that after a crash the next one can \
                tell which processes were left behind. A relative path starts at the config's folder.",
    },
    Field {
        name: "legacyTakeover",
        shape: Shape::Object(LEGACY_TAKEOVER),
        fallback: Fallback::Nothing,
        example: r#"legacyTakeover: {screens: ["ticket-server"]}"#,
        about: "What `rollbridge predeploy-cleanup` stops when an older supervisor is replaced.",
    },
];

/// `control`
pub const CONTROL: &[Field] = &[
    Field {
        name: "path",
        shape: TEXT,
        fallback: Fallback::Described("/tmp/rollbridge-<application>.sock"),
        example: r#"path: "/run/ticket-server/rollbridge.sock""#,
        about: "Path of the control socket, at most 107 bytes. A relative path starts at the config's folder.",
    },
    Field {
        name: "mode",
        shape: Shape::Mode,
        fallback: Fallback::Described("what the daemon's umask leaves"),
        example: r#"mode: "660""#,
        about: "Permissions of the control socket, in octal. Whoever may write to the socket may command the daemon.",
    },
    Field {
        name: "owner",
        shape: Shape::Principal,
        fallback: Fallback::Described("the daemon's user"),
        example: r#"owner: "deploy""#,
        about: "User who owns the control socket, by name or id. The daemon must be allowed to give it away.",
    },
    Field {
        name: "group",
        shape: Shape::Principal,
        fallback: Fallback::Described("the daemon's group"),
        example: r#"group: "deploy""#,
        about: "Group of the control socket, by name or id.",
    },
];

/// `proxy`
pub const PROXY: &[Field] = &[
    Field {
        name: "host",
        shape: Shape::Text(TextRule::Host),
        fallback: Fallback::Value(r#""127.0.0.1""#),
        example: r#"host: "127.0.0.1""#,
        about: "Address on which the proxy accepts connections.",
    },
    Field {
        name: "port",
        shape: Shape::Integer { min: 0, max: 65535 },
        fallback: Fallback::Value("8182"),
        example: "port: 8182",
        about: "Port on which the proxy accepts connections. 0 takes any free port.",
    },
    Field {
        name: "upstreamHost",
        shape: Shape::Text(TextRule::Host),
        fallback: Fallback::Described("the same as proxy.host; 127.0.0.1 if that is 0.0.0.0 or ::"),
        example: r#"upstreamHost: "127.0.0.1""#,
        about: "Address under which the proxy reaches the proxied process.",
    },
    Field {
        name: "healthPath",
        shape: Shape::Text(TextRule::RequestPath),
        fallback: Fallback::Value(r#""/ping""#),
        example: r#"healthPath: "/ping""#,
        about: "Path asked for by health checks, unless the process names its own.",
    },
    Field {
        name: "healthTimeoutMs",
        shape: POSITIVE_AMOUNT,
        fallback: Fallback::Value("30000"),
        example: "healthTimeoutMs: 30000",
        about: "Milliseconds a new release may take to become healthy, unless the process names its own limit.",
    },
    Field {
        name: "drainTimeoutMs",
        shape: AMOUNT,
        fallback: Fallback::Value("60000"),
        example: "drainTimeoutMs: 60000",
        about: "Milliseconds a retired release may take to finish its connections before they are closed. 0 closes them at \
                once.",
    },
    Field {
        name: "forceStopTimeoutMs",
        shape: AMOUNT,
        fallback: Fallback::Value("10000"),
        example: "forceStopTimeoutMs: 10000",
        about: "Milliseconds between the stop signal and SIGKILL, for every process without a `gracefulStopMs`.",
    },
    Field {
        name: "holdTimeoutMs",
        shape: AMOUNT,
        fallback: Fallback::Value("5000"),
        example: "holdTimeoutMs: 5000",
        about: "Milliseconds a request waits for the active release to answer again while its process restarts. 0 never \
                waits.",
    },
    Field {
        name: "maxHeldRequests",
        shape: Shape::Integer {
            min: 0,
            max: 1_000_000,
        },
        fallback: Fallback::Value("1000"),
        example: "maxHeldRequests: 1000",
        about: "How many requests may wait that way at the same time.",
    },
    Field {
        name: "maxConnections",
        shape: Shape::Integer {
            min: 1,
            max: MAX_INTEGER,
        },
        fallback: Fallback::Described("derived from the open-file limit"),
        example: "maxConnections: 10000",
        about: "How many client connections the proxy keeps open at the same time.",
    },
    Field {
        name: "clientIdleTimeoutMs",
        shape: AMOUNT,
        fallback: Fallback::Value("75000"),
        example: "clientIdleTimeoutMs: 75000",
        about: "Milliseconds after which an idle client connection is closed. 0 closes it after each answer.",
    },
    Field {
        name: "trustedProxies",
        shape: Shape::List {
            of: &Shape::Network,
            min_length: 0,
        },
        fallback: Fallback::Value(r#"["127.0.0.0/8", "::1/128"]"#),
        example: r#"trustedProxies: ["127.0.0.0/8", "10.0.0.0/8"]"#,
        about: "Networks whose forwarding headers are believed, as CIDRs.",
    },
];

/// `releaseRetention`
pub const RELEASE_RETENTION: &[Field] = &[
    Field {
        name: "keep",
        shape: AMOUNT,
        fallback: Fallback::Value("10"),
        example: "keep: 10",
        about: "How many stopped releases are remembered.",
    },
    Field {
        name: "maxAgeMs",
        shape: AMOUNT,
        fallback: Fallback::Value("0"),
        example: "maxAgeMs: 86400000",
        about: "Milliseconds after which a stopped release is forgotten. 0 forgets by number only.",
    },
];

/// `legacyTakeover`
pub const LEGACY_TAKEOVER: &[Field] = &[
    Field {
        name: "screens",
        shape: Shape::List {
            of: &TEXT,
            min_length: 0,
        },
        fallback: Fallback::Value("[]"),
        example: r#"screens: ["ticket-server"]"#,
        about: "Names of screen sessions to end.",
    },
    Field {
        name: "processes",
        shape: Shape::List {
            of: &Shape::Object(LEGACY_PROCESS),
            min_length: 0,
        },
        fallback: Fallback::Value("[]"),
        example: r#"processes: [{includes: ["/srv/ticket-server/", "server.js"]}]"#,
        about: "Processes to stop, found by their command lines.",
    },
    Field {
        name: "forceStopTimeoutMs",
        shape: AMOUNT,
        fallback: Fallback::Described("proxy.forceStopTimeoutMs"),
        example: "forceStopTimeoutMs: 10000",
        about: "Milliseconds between SIGTERM and SIGKILL for what is stopped here.",
    },
];

/// An element of `legacyTakeover.processes`
pub const LEGACY_PROCESS: &[Field] = &[
    Field {
        name: "includes",
        shape: Shape::List {
            of: &TEXT,
            min_length: 1,
        },
        fallback: Fallback::Required,
        example: r#"includes: ["/srv/ticket-server/", "server.js"]"#,
        about: "A process is meant when its command line contains all of these texts.",
    },
    Field {
        name: "name",
        shape: TEXT,
        fallback: Fallback::Nothing,
        example: r#"name: "legacy web""#,
        about: "What to call it in messages.",
    },
];
