// The backend of tensorbuzz.com: a Velocious application behind nginx. docs/tensorbuzz-runbook.md is about running it.
//
// This file lies outside the releases, as /home/dev/tensorbuzz.com/rollbridge.mjs, and is what --config names. The daemon
// reads it again before each deploy.

// The release's own program. Without npx in between, signals and `rollbridge ps` meet the program itself.
const velocious = "exec node_modules/.bin/velocious"

// Where the other processes are. Each release has its own beacon; all share one background-jobs-main.
const addresses = {
  VELOCIOUS_BEACON_PORT: "{{ports.beacon}}",
  VELOCIOUS_BACKGROUND_JOBS_PORT: "{{ports.background-jobs-main}}"
}

export default {
  application: "tensorbuzz",

  control: {path: "/tmp/rollbridge-tensorbuzz.sock", mode: "660"},

  // nginx's upstream. The daemon keeps this port through all deploys.
  proxy: {
    host: "127.0.0.1",
    port: 8182,
    healthPath: "/ping",
    healthTimeoutMs: 30000,
    drainTimeoutMs: 60000,
    forceStopTimeoutMs: 10000
  },

  // What a crash of the whole machine's daemon has left over can be found by it.
  statePath: "/home/dev/tensorbuzz.com/shared/rollbridge.state.json",

  releaseRetention: {keep: 5},

  // Only for the first deploy: what ran before Rollbridge did.
  legacyTakeover: {
    screens: ["tensorbuzz"],
    processes: [
      {name: "legacy web", includes: ["/home/dev/tensorbuzz.com/", "velocious server", "--port 8082"]}
    ]
  },

  processes: [
    // Routes jobs and begins the scheduled ones. It outlives releases: there must not be two.
    {
      id: "background-jobs-main",
      policy: "service",
      command: `${velocious} background-jobs-main`,
      env: {VELOCIOUS_BACKGROUND_JOBS_PORT: "{{port}}"},
      port: 7331
    },

    // Passes messages between the processes of one release.
    {
      id: "beacon",
      policy: "companion",
      command: `${velocious} beacon`,
      env: {VELOCIOUS_BEACON_PORT: "{{port}}"},
      port: {from: 17330, to: 17399}
    },

    // Does the jobs. Each job is a process of its own, which the worker does not wait for; so only the worker gets the
    // signal, and Rollbridge waits for the jobs, for up to ten minutes.
    {
      id: "background-jobs-worker",
      policy: "companion",
      command: `${velocious} background-jobs-worker`,
      env: addresses,
      lifecycle: {stopCommand: "kill -TERM $ROLLBRIDGE_PID"},
      nonBlockingDrain: true,
      gracefulStopMs: 600000,
      outputLines: 200
    },

    // Answers the visitors. The range leaves room for the releases that still drain.
    {
      id: "web",
      policy: "proxied",
      command: `${velocious} server --host {{proxy.upstreamHost}} --port {{port}}`,
      env: addresses,
      port: {from: 18182, to: 18299},
      health: {path: "/ping", timeoutMs: 30000},
      outputLines: 200
    }
  ]
}
