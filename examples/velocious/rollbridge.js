// How Rollbridge runs a Velocious application. docs/velocious.md explains each process.

const {PROXY_PORT = "8182", JOBS_PORT = "7331", WEB_PORTS = "18182-18299", CONTROL_PATH} = process.env
const [from, to] = WEB_PORTS.split("-").map(Number)

// The programs of the release itself, without npx in between: signals reach them directly.
const velocious = "exec node_modules/.bin/velocious"
const env = {
  VELOCIOUS_ENV: "production",
  VELOCIOUS_BACKGROUND_JOBS_PORT: "{{ports.background-jobs-main}}",
  REPORTS: `${process.cwd()}/reports`
}

export default {
  application: "velocious-example",
  control: {path: CONTROL_PATH},
  proxy: {port: Number(PROXY_PORT), healthPath: "/ping"},

  processes: [
    // Routes jobs to workers, and begins the scheduled ones. Web and workers of all releases talk to this one.
    {
      id: "background-jobs-main",
      policy: "service",
      command: `${velocious} background-jobs-main`,
      port: Number(JOBS_PORT),
      env
    },

    // Does the jobs. Velocious runs each in a process of its own. The worker ends at once when it is told to, and
    // those processes go on, so only the worker gets the signal, and Rollbridge waits for the others.
    {
      id: "background-jobs-worker",
      policy: "companion",
      command: `${velocious} background-jobs-worker`,
      lifecycle: {stopCommand: "kill -TERM $ROLLBRIDGE_PID"},
      nonBlockingDrain: true,
      gracefulStopMs: 600000,
      env
    },

    {
      id: "web",
      policy: "proxied",
      command: `${velocious} server --host {{proxy.upstreamHost}} --port {{port}}`,
      port: {from, to},
      env
    }
  ]
}
