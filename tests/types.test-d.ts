// Uses the public types as an application would; checked by `npm run typecheck`, never run. Each expected error proves
// that a mistake is caught, because tsc rejects an expectation that is not met.

import rollbridge = require("..")
import {RollbridgeError, defineConfig, deploy, loadConfig, shutdown, status, stop, validateConfig} from ".."

// ---- configs that are right

const minimal = defineConfig({
  processes: [{id: "web", policy: "proxied", command: "node server.js", port: {from: 18182, to: 18299}}]
})

const complete = defineConfig({
  application: "ticket-server",
  control: {path: "/tmp/tickets.sock", mode: "660", owner: 1000, group: "deploy"},
  proxy: {
    host: "127.0.0.1",
    port: 8182,
    upstreamHost: "127.0.0.1",
    healthPath: "/ping",
    healthTimeoutMs: 30_000,
    drainTimeoutMs: 60_000,
    forceStopTimeoutMs: 10_000,
    holdTimeoutMs: 5_000,
    maxHeldRequests: 1_000,
    maxConnections: 20_000,
    clientIdleTimeoutMs: 75_000,
    trustedProxies: ["10.0.0.0/8"]
  },
  releaseRetention: {keep: 5, maxAgeMs: 86_400_000},
  statePath: "state/tickets.json",
  legacyTakeover: {
    screens: ["tickets"],
    processes: [{name: "old web", includes: ["/srv/tickets/", "--port 8082"]}],
    forceStopTimeoutMs: 20_000
  },
  processes: [
    {
      id: "broker",
      policy: "service",
      command: "node broker.js",
      port: {from: 17330, to: 17331},
      deployStrategy: "handoff",
      restart: {maxRestarts: 5, windowMs: 60_000, backoffFactor: 1.5, maxDelayMs: 30_000}
    },
    {
      id: "worker",
      command: "node worker.js",
      replicas: 4,
      nonBlockingDrain: true,
      stopSignal: "SIGINT",
      gracefulStopMs: "indefinite",
      memory: {limitBytes: 512 * 1024 ** 2, warnBytes: 384 * 1024 ** 2, checkIntervalMs: 1_000},
      lifecycle: {quietCommand: "touch quiet", drainCommand: "./drain", drainTimeoutMs: 5_000, stopCommand: "./stop"},
      outputLines: 200,
      restartDelayMs: 500,
      cwd: "{{releasePath}}",
      env: {QUEUE: "{{replicaIndex}}", OPTIONAL: process.env.OPTIONAL}
    },
    {id: "scheduler", policy: "singleton", command: "node scheduler.js"},
    {
      id: "web",
      policy: "proxied",
      command: "node web.js",
      port: 0,
      health: {path: "/ping", timeoutMs: 1, intervalMs: 250, startDelayMs: 0, requestTimeoutMs: 5_000}
    }
  ]
})

defineConfig(() => minimal)
defineConfig(() => ({processes: [{id: "web", policy: "proxied", command: "x", port: 1}]}))
defineConfig(async () => ({processes: [{id: "web", policy: "proxied", command: "x", port: {from: 1, to: 2}, stopSignal: "SIGIO"}]}))
defineConfig({$schema: "./schema.json", processes: [{id: "web", policy: "proxied", command: "x", port: 1}]})
defineConfig(async () => complete)
defineConfig({
  application: null,
  proxy: {port: null},
  processes: [{id: "web", policy: "proxied", command: "x", port: 1, health: false, cwd: null}]
})

// defineConfig gives back what it got, so a function can still be called.
const fromFunction: Promise<rollbridge.RollbridgeConfig> | rollbridge.RollbridgeConfig = defineConfig(async () => complete)()

// ---- configs that are wrong

// @ts-expect-error processes are required
defineConfig({application: "tickets"})
// @ts-expect-error the proxied process needs a port
defineConfig({processes: [{id: "web", policy: "proxied", command: "x"}]})
// @ts-expect-error there is no such policy
defineConfig({processes: [{id: "web", policy: "worker", command: "x"}]})
// @ts-expect-error a range has two ends
defineConfig({processes: [{id: "web", policy: "proxied", command: "x", port: {from: 1}}]})
// @ts-expect-error only companions have replicas
defineConfig({processes: [{id: "scheduler", policy: "singleton", command: "x", replicas: 2}]})
// @ts-expect-error only services have a deploy strategy
defineConfig({processes: [{id: "web", policy: "proxied", command: "x", port: 1, deployStrategy: "handoff"}]})
// @ts-expect-error signals are named in full
defineConfig({processes: [{id: "worker", command: "x", stopSignal: "TERM"}]})
// @ts-expect-error "forever" is not how it is spelled
defineConfig({processes: [{id: "worker", command: "x", gracefulStopMs: "forever"}]})
// @ts-expect-error a memory policy needs a limit
defineConfig({processes: [{id: "worker", command: "x", memory: {warnBytes: 1}}]})
// @ts-expect-error a misspelt field
defineConfig({proxy: {drainTimeoutMS: 1}, processes: []})

// ---- commands

export async function useCommands(signal: AbortSignal): Promise<void> {
  const deployed = await deploy({
    config: "rollbridge.js",
    releasePath: "releases/2",
    releaseId: "v2",
    revision: "abc123",
    wait: true,
    waitDrained: true,
    signal,
    async onProgress(progress) {
      const text: string = `${progress.at} ${progress.phase} ${progress.message}`
      const process: string | undefined = progress.processId
      void [text, process]
    }
  })
  const active: string = deployed.activeReleaseId
  const previous: string | null = deployed.previousReleaseId
  // @ts-expect-error the first deploy has no previous release
  const certain: string = deployed.previousReleaseId

  await deploy({config: complete, releasePath: ".", releaseId: null, revision: null, wait: null, onProgress: null})
  await stop({releaseId: null})
  await rollbridge.restart({process: null, policy: "singleton"})
  // @ts-expect-error what should be deployed?
  await deploy({config: "rollbridge.js"})

  const now = await status()
  for (const release of now.releases) {
    const state: "starting" | "active" | "draining" | "stopped" | "failed" = release.state
    const open: number = release.connections.http + release.connections.websocket
    const webPort: number | undefined = release.ports.web
    for (const process of release.processes) {
      const pid: number | null = process.pid
      const lines: string[] = process.logs.map((log) => `${log.seq} ${log.stream} ${log.line}`)
      const memory: number = (process.children ?? []).reduce((sum, child) => sum + child.rssBytes, 0)
      void [pid, lines, memory]
    }
    void [state, open, webPort]
  }
  const broker: rollbridge.ProcessStatus | undefined = now.services.find(({id}) => id === "broker")?.process
  // @ts-expect-error a status has no such field
  void now.activeRelease

  const stopped: rollbridge.Status = await stop({releaseId: "v1"})
  const message: string = (await shutdown({config: "rollbridge.js"})).message

  const checked = await validateConfig({config: minimal})
  if (checked.config !== null) void checked.config.proxy.port.toFixed()
  for (const {message, fix} of [...checked.issues, ...checked.warnings]) void [message.trim(), fix.trim()]

  const loaded = await loadConfig()
  const controlPath: string = loaded.control.path
  await status({config: loaded})

  void [active, previous, certain, broker, stopped, message, controlPath, fromFunction]
}

export async function useLists(signal: AbortSignal): Promise<void> {
  const [event] = await rollbridge.events({config: complete, limit: 10, since: 4, follow: false})
  const text: string = `${event.seq} ${event.at} ${event.message} ${event.data.releaseId}`
  if (event.message === "traffic switched") void event.data

  const onMissed = (missed: number) => void missed.toFixed()
  for await (const {seq, message} of rollbridge.events({follow: true, since: 3, signal, onMissed})) void [seq, message]
  // @ts-expect-error what is followed is not a promise
  await rollbridge.events({follow: true}).then()
  // @ts-expect-error a list of events cannot be iterated before it is there
  for await (const event of rollbridge.events()) void event

  for (const {id, source, logs} of await rollbridge.logs({process: "web", releaseId: "v1", since: 3})) {
    void [id.trim(), source.trim(), logs.map(({line, stream}) => `${stream} ${line}`)]
  }
  const followed = rollbridge.logs({process: "web", follow: true, signal: null, onMissed: null})
  for await (const {id, line} of followed) void [id.trim(), line.trim()]
  await followed.return()

  for (const open of await rollbridge.connections({releaseId: "v1", close: 4})) {
    const kind: "http" | "websocket" = open.kind
    void [open.number, open.instance, kind, open.client, open.method, open.path, open.ageMs + open.bytesIn + open.bytesOut, open.releaseId]
  }
  void text
}

export async function useOperations(): Promise<void> {
  const status: rollbridge.Status = await rollbridge.ensureDaemon({
    config: "rollbridge.js",
    daemonLogPath: "log/rollbridge.log",
    daemonPidPath: "tmp/rollbridge.pid",
    daemonRuntimePath: "runtime",
    daemonStartTimeoutMs: 5_000
  })
  // @ts-expect-error a daemon needs a file that it can read again
  await rollbridge.ensureDaemon({config: complete})

  const report = await rollbridge.doctor({config: complete, releasePath: ".", releaseId: "v1", revision: "abc"})
  const failed: string[] = report.checks.filter(({ok}) => !ok).map(({name, detail}) => `${name}: ${detail}`)
  const left: number[] = (await rollbridge.recover({config: complete, force: true})).remaining.map(({pid}) => pid)
  const {action, legacyProcesses, recoveredOrphans} = await rollbridge.predeployCleanup({releasePath: "."})
  // @ts-expect-error there is no such outcome
  if (action === "daemon-killed") void legacyProcesses
  const {previousVersion, version} = await rollbridge.upgrade({config: complete, binary: "target/release/rollbridge"})
  await rollbridge.upgrade({binary: null})
  // @ts-expect-error only these policies can be restarted
  await rollbridge.restart({policy: "proxied"})
  // @ts-expect-error rollback has nothing to say about a path
  await rollbridge.rollback({releasePath: "."})
  await rollbridge.rollback({config: complete, releaseId: "v1", wait: true, onProgress: ({phase}) => void phase})
  void [status, failed, left, recoveredOrphans, previousVersion, version]
}

export async function useDaemon(signal: AbortSignal): Promise<void> {
  await using daemon = await new rollbridge.Daemon(complete).start()
  const port: number | null = daemon.proxyPort
  const deployed = await daemon.deploy({releasePath: ".", releaseId: "v1", waitDrained: true, signal, onProgress() {}})
  const previous: string | null = (await daemon.rollback({releaseId: deployed.activeReleaseId})).previousReleaseId
  // @ts-expect-error the daemon has its config already
  await daemon.deploy({config: complete, releasePath: "."})
  // @ts-expect-error the port is the daemon's to choose
  daemon.proxyPort = 3
  for await (const {message} of daemon.events({follow: true, signal})) if (message === "shutdown finished") break
  await using lines = daemon.logs({follow: true, process: "web"})
  const line: string | undefined = (await lines.next()).value?.line
  const states = (await daemon.status()).releases.map(({state}) => state)
  const [first] = await daemon.events({limit: 1})
  const open: number = (await daemon.connections()).length
  await daemon.restart({policy: "companion"})
  await daemon.stop()
  const nothing: void = await daemon.shutdown()
  await new rollbridge.Daemon("rollbridge.mjs").shutdown()
  new rollbridge.Daemon()
  // @ts-expect-error a config is a path or an object
  new rollbridge.Daemon(7)
  void [port, previous, line, states, first.seq, open, nothing]
}

export function useErrors(error: unknown): string {
  if (!(error instanceof RollbridgeError)) return "not ours"
  // @ts-expect-error there is no such code
  if (error.code === "no_such_code") return "never"
  if (error.code === "no_daemon") return error.message
  const serving: string | null | undefined = error.activeReleaseId
  if (error.code === "post_switch_failed") return `${error.releaseId} ${serving}`
  // @ts-expect-error errors are made by the package only
  new RollbridgeError()
  return (error.logs ?? []).map(({line}) => line).join("\n")
}
