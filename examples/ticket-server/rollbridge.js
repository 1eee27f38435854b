// How Rollbridge runs the ticket server. The environment variables let the demo and the tests use free ports and a
// socket of their own; a real config would simply say what it means.

const {
  TICKET_SERVER_CONTROL_PATH = "/tmp/rollbridge-ticket-server.sock",
  TICKET_SERVER_PROXY_PORT = "8182",
  TICKET_SERVER_BROKER_PORT = "17330",
  TICKET_SERVER_WEB_PORTS = "18182-18299"
} = process.env

const [from, to] = TICKET_SERVER_WEB_PORTS.split("-").map(Number)

export default {
  application: "ticket-server",

  control: {path: TICKET_SERVER_CONTROL_PATH},

  proxy: {
    host: "127.0.0.1",
    port: Number(TICKET_SERVER_PROXY_PORT),
    healthPath: "/ping",
    drainTimeoutMs: 60000,
    forceStopTimeoutMs: 10000
  },

  processes: [
    // Holds the tickets and passes messages on. It outlives releases, and its port never changes.
    {
      id: "broker",
      policy: "service",
      command: "node ticket-server.js broker --port {{port}}",
      port: Number(TICKET_SERVER_BROKER_PORT)
    },

    // Handles tickets in the background. Each release has its own, which finishes the ticket in hand before it stops.
    {
      id: "worker",
      policy: "companion",
      command: "node ticket-server.js worker",
      env: {BROKER_PORT: "{{ports.broker}}"},
      gracefulStopMs: 30000,
      outputLines: 200
    },

    // Two of these would tick twice as often, so there is never more than one.
    {
      id: "scheduler",
      policy: "singleton",
      command: "node ticket-server.js scheduler",
      env: {BROKER_PORT: "{{ports.broker}}"}
    },

    // What the visitors see. The range lets two releases run side by side while the older one drains.
    {
      id: "web",
      policy: "proxied",
      command: "node ticket-server.js web --host {{proxy.upstreamHost}} --port {{port}}",
      env: {BROKER_PORT: "{{ports.broker}}"},
      port: {from, to},
      health: {path: "/ping", timeoutMs: 30000}
    }
  ]
}
