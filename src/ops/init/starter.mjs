// The config of Rollbridge. Check it with `rollbridge validate`.
export default {
  // Names the application in messages, in the control socket's name and in the environment of its processes.
  // Default: the name of this folder.
  // application: "my-app",

  // Where the daemon takes requests. Point nginx, or whatever stands in front, to this address.
  proxy: {
    host: "127.0.0.1",
    port: 8182,
    // How long the requests of the previous release may take to end after a deploy.
    drainTimeoutMs: 60000
  },

  // Where to note what runs, so that `rollbridge recover` finds it after a crash of the daemon.
  // statePath: "rollbridge.state.json",

  processes: [
    {
      // The process that serves requests. Each release gets a free port of the range.
      id: "web",
      policy: "proxied",
      command: "npm start",
      env: {PORT: "{{port}}"},
      port: {from: 18182, to: 18299},
      // Traffic is switched once this path answers with a 2xx.
      health: {path: "/", timeoutMs: 30000}
    }

    // A helper of each release, such as a worker for background jobs:
    // {id: "worker", policy: "companion", command: "npm run worker", gracefulStopMs: 60000},

    // Something that must never run twice, such as a scheduler:
    // {id: "scheduler", policy: "singleton", command: "npm run scheduler"},

    // Something that stays when releases come and go, such as a broker:
    // {id: "broker", policy: "service", command: "npm run broker", port: 17330}
  ]
}
