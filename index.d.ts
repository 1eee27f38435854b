/// <reference lib="esnext.disposable" />

// The public types of the package, written by hand. tests/types.test-d.ts holds them against real use.
//
// Names ending in `Ms` are whole milliseconds, names ending in `Bytes` whole bytes. In a config, `null` and `undefined`
// both mean "not set".

// ---------------------------------------------------------------------------------------------------------------------
// Config

/** Everything the daemon needs to know about one application. */
export interface RollbridgeConfig {
  /** Where editors find the JSON Schema of a config in JSON. Rollbridge ignores it. */
  $schema?: string | null
  /**
   * Name of the application; part of the default control socket path, so it must not contain a `/`.
   *
   * Default: the name of the folder that holds the config file.
   */
  application?: string | null
  /** The Unix socket through which commands reach the daemon. */
  control?: ControlConfig | null
  /** The stable address that clients (or Nginx) talk to, and how traffic moves between releases. */
  proxy?: ProxyConfig | null
  /** How many stopped releases the daemon remembers. Folders on disk are never touched. */
  releaseRetention?: ReleaseRetentionConfig | null
  /**
   * File in which the daemon records what it runs, so that processes left over after a crash of the whole daemon can be
   * found. Relative to the config's folder.
   *
   * Default: nothing is recorded.
   */
  statePath?: string | null
  /** What an older supervisor left running, to be stopped once by `rollbridge predeploy-cleanup`. */
  legacyTakeover?: LegacyTakeoverConfig | null
  /** The processes of a release. Exactly one has the policy `proxied`. */
  processes: ProcessConfig[]
}

export interface ControlConfig {
  /**
   * Path of the control socket, at most 107 bytes, relative to the config's folder.
   *
   * Default: `/tmp/rollbridge-<application>.sock`.
   */
  path?: string | null
  /**
   * Permissions of the socket: an octal string such as `"660"`, or a number such as `0o660`.
   *
   * Default: what the daemon's umask leaves.
   */
  mode?: string | number | null
  /** User, by name or numeric id, who owns the socket. */
  owner?: string | number | null
  /** Group, by name or numeric id, that the socket belongs to. */
  group?: string | number | null
}

export interface ProxyConfig {
  /** Address the proxy listens on. Default: `127.0.0.1`. */
  host?: string | null
  /** Port the proxy listens on; 0 picks any free one. Default: 8182. */
  port?: number | null
  /**
   * Address the application's web processes listen on.
   *
   * Default: `proxy.host`, or `127.0.0.1` when that is a wildcard.
   */
  upstreamHost?: string | null
  /** Path of the health check. Default: `/ping`. */
  healthPath?: string | null
  /** How long a new release may take to become healthy, at least 1. Default: 30000. */
  healthTimeoutMs?: number | null
  /**
   * How long open requests and WebSockets of the previous release may go on after a switch; 0 closes them at once.
   *
   * Default: 60000.
   */
  drainTimeoutMs?: number | null
  /** How long a process may take to stop before it is killed, unless it sets `gracefulStopMs`. Default: 10000. */
  forceStopTimeoutMs?: number | null
  /**
   * How long a request waits for an active release that has stopped answering to answer again; 0 means it does not wait.
   *
   * Default: 5000.
   */
  holdTimeoutMs?: number | null
  /** How many requests may wait like that at the same time. Default: 1000. */
  maxHeldRequests?: number | null
  /** How many client connections may be open. Default: derived from the limit on open files. */
  maxConnections?: number | null
  /** How long an idle client connection is kept open; 0 closes it after each answer. Default: 75000. */
  clientIdleTimeoutMs?: number | null
  /** Networks (CIDR) whose forwarding headers are believed. Default: loopback. */
  trustedProxies?: string[] | null
}

export interface ReleaseRetentionConfig {
  /** How many stopped releases to remember. Default: 10. */
  keep?: number | null
  /** Forget stopped releases older than this; 0 keeps them whatever their age. Default: 0. */
  maxAgeMs?: number | null
}

export interface LegacyTakeoverConfig {
  /** Names of GNU screen sessions to quit. */
  screens?: string[] | null
  /** Processes to stop, found by their command line. */
  processes?: LegacyProcessConfig[] | null
  /** How long they may take before they are killed. Default: `proxy.forceStopTimeoutMs`. */
  forceStopTimeoutMs?: number | null
}

export interface LegacyProcessConfig {
  /** A process is meant when its command line contains every one of these. */
  includes: string[]
  /** What to call it in messages. */
  name?: string | null
}

/** One process of the application; `policy` decides when it starts and stops. */
export type ProcessConfig = ProxiedProcessConfig | CompanionProcessConfig | SingletonProcessConfig | ServiceProcessConfig

/** What all processes have in common. */
export interface CommonProcessConfig {
  /** Unique name, without `#`. */
  id: string
  /** Shell command. May contain placeholders such as `{{port}}`, `{{releasePath}}` or `{{env.HOME}}`. */
  command: string
  /**
   * Working directory; may contain placeholders, relative means inside the release.
   *
   * Default: the release path.
   */
  cwd?: string | null
  /** Extra environment variables; values may contain placeholders. */
  env?: Record<string, string | null | undefined> | null
  /** Signal that asks the process to finish its work and exit. Default: `SIGTERM`. */
  stopSignal?: SignalName | null
  /**
   * How long the process may take after that signal before it is killed; 0 kills it right after the signal,
   * `"indefinite"` never does.
   *
   * Default: `proxy.forceStopTimeoutMs`.
   */
  gracefulStopMs?: number | "indefinite" | null
  /** Pause before a crashed process is started again. Default: 1000. */
  restartDelayMs?: number | null
  /** Limits on restarts after crashes. Default: it is restarted for ever, always after `restartDelayMs`. */
  restart?: RestartConfig | null
  /** Supervision of resident memory. Default: none. */
  memory?: MemoryConfig | null
  /** Commands that help the process to finish its work before it is stopped. */
  lifecycle?: LifecycleConfig | null
  /** How many of the last output lines to keep, at least 1. Default: 50. */
  outputLines?: number | null
}

/** The web process: receives HTTP and WebSocket traffic through the proxy. Exactly one per config. */
export interface ProxiedProcessConfig extends CommonProcessConfig {
  /** The process that answers clients; exactly one. */
  policy: "proxied"
  /** Where the process listens. A range lets the old and the new release overlap. */
  port: PortConfig
  /**
   * The health check a new release must pass before it gets traffic. `false` switches as soon as the process is started;
   * requests then wait until it accepts connections.
   */
  health?: HealthConfig | false | null
}

/** A helper that belongs to one release: starts before its web process, stops when the release has drained. */
export interface CompanionProcessConfig extends CommonProcessConfig {
  /** A helper of one release. Default: `companion`. */
  policy?: "companion" | null
  /** A port of its own, as `{{port}}` and `ROLLBRIDGE_PORT`. Default: none. */
  port?: PortConfig | null
  /**
   * Start the graceful stop the moment the release is retired, while its connections still drain.
   *
   * Default: false.
   */
  nonBlockingDrain?: boolean | null
  /** How many identical instances to run; more than one only without a port. Default: 1. */
  replicas?: number | null
}

/** A helper of which two must never run at once: at a deploy the old one is fully stopped before the new one starts. */
export interface SingletonProcessConfig extends CommonProcessConfig {
  /** A process that never runs twice at a time. */
  policy: "singleton"
  /** A port of its own, the same for the daemon's life. Default: none. */
  port?: PortConfig | null
}

/** A long-lived broker that outlives releases and keeps its port. */
export interface ServiceProcessConfig extends CommonProcessConfig {
  /** A process that outlives releases. */
  policy: "service"
  /** A port of its own; a `persistent` service keeps it for the daemon's life. Default: none. */
  port?: PortConfig | null
  /**
   * `persistent`: started once, survives deploys. `handoff`: each release starts its own, the old one stops last; needs
   * a range of at least two ports.
   *
   * Default: `persistent`.
   */
  deployStrategy?: "persistent" | "handoff" | null
}

/** One port (0 picks any free one), or a range from which a free one is taken. */
export type PortConfig = number | PortRange

export interface PortRange {
  /** Lowest port, tried first. */
  from: number
  /** Highest port, included. */
  to: number
}

export interface HealthConfig {
  /** Path that must answer with a 2xx status. Default: `proxy.healthPath`. */
  path?: string | null
  /** How long the release may take to become healthy, at least 1. Default: `proxy.healthTimeoutMs`. */
  timeoutMs?: number | null
  /** Longest pause between two probes, at least 1. Default: 250. */
  intervalMs?: number | null
  /** Pause before the first probe, not counted in `timeoutMs`. Default: 0. */
  startDelayMs?: number | null
  /** How long one probe may take, at least 1. Default: 5000. */
  requestTimeoutMs?: number | null
}

export interface RestartConfig {
  /** How many restarts are allowed within `windowMs`; 0 means none at all. Default: unlimited. */
  maxRestarts?: number | null
  /** The window in which restarts are counted; 0 is the whole lifetime. Default: 0. */
  windowMs?: number | null
  /** Factor by which each further restart waits longer, at least 1. Default: 1. */
  backoffFactor?: number | null
  /** Upper limit of that wait; 0 means none. Default: 0. */
  maxDelayMs?: number | null
}

export interface MemoryConfig {
  /** Resident memory of the process and everything it started, above which it is restarted gracefully; at least 1. */
  limitBytes: number
  /** Amount above which a warning event is recorded; 0 means never. Default: 0. */
  warnBytes?: number | null
  /** Time between two measurements, at least 1. Default: 5000. */
  checkIntervalMs?: number | null
}

/** Shell commands run in this order when the process is stopped gracefully. They are not templates. */
export interface LifecycleConfig {
  /** Asks the process to take no new work. */
  quietCommand?: string | null
  /** Waits for the work in hand; needs a positive `drainTimeoutMs`. */
  drainCommand?: string | null
  /** Upper limit of that wait. Without a `drainCommand`, how long to wait for the process to exit by itself. Default: 0. */
  drainTimeoutMs?: number | null
  /** Stops the process, in place of `stopSignal`. */
  stopCommand?: string | null
}

/** What a config module may export in place of the config: called without arguments at each load. */
export type ConfigFunction = () => RollbridgeConfig | Promise<RollbridgeConfig>

export type SignalName =
  | "SIGABRT"
  | "SIGALRM"
  | "SIGBUS"
  | "SIGCHLD"
  | "SIGCONT"
  | "SIGEMT"
  | "SIGFPE"
  | "SIGHUP"
  | "SIGILL"
  | "SIGINFO"
  | "SIGINT"
  | "SIGIO"
  | "SIGKILL"
  | "SIGPIPE"
  | "SIGPROF"
  | "SIGPWR"
  | "SIGQUIT"
  | "SIGSEGV"
  | "SIGSTKFLT"
  | "SIGSTOP"
  | "SIGSYS"
  | "SIGTERM"
  | "SIGTRAP"
  | "SIGTSTP"
  | "SIGTTIN"
  | "SIGTTOU"
  | "SIGURG"
  | "SIGUSR1"
  | "SIGUSR2"
  | "SIGVTALRM"
  | "SIGWINCH"
  | "SIGXCPU"
  | "SIGXFSZ"

/**
 * Returns its argument. Wrap what a config module exports in it, and the editor knows every field.
 *
 * @example
 * export default defineConfig({
 *   processes: [{id: "web", policy: "proxied", command: "node server.js", port: {from: 18182, to: 18299}}]
 * })
 */
export function defineConfig(config: ConfigFunction): ConfigFunction
export function defineConfig(config: RollbridgeConfig): RollbridgeConfig

// ---------------------------------------------------------------------------------------------------------------------
// Commands

export interface ConfigOption {
  /**
   * Path of the config file, or the config itself; relative paths in an object are relative to the working directory.
   *
   * Default: the first of `rollbridge.js`, `.mjs`, `.cjs`, `.ts`, `.mts`, `.json` in the working directory.
   */
  config?: string | RollbridgeConfig | undefined
}

export interface DeployOptions extends ConfigOption {
  /** Folder of the prepared release; relative means relative to the working directory. */
  releasePath: string
  /** Id of the new release. Default: derived from `revision`, else the current time. */
  releaseId?: string | null | undefined
  /** What is deployed, such as a commit. Default: the release id. */
  revision?: string | null | undefined
  /** Queue behind a running deploy instead of failing with `deploy_in_progress`. */
  wait?: boolean | null | undefined
  /** Resolve only when the previous release has drained and stopped. */
  waitDrained?: boolean | null | undefined
  /** Told about each step. If it throws, the promise is rejected with that error and the deploy goes on. */
  onProgress?: ((progress: DeployProgress) => void | Promise<void>) | null | undefined
  /** Ends the waiting: the promise is rejected with the signal's reason, and the deploy goes on in the daemon. */
  signal?: AbortSignal | undefined
}

export interface RollbackOptions extends ConfigOption {
  /** The release to go back to. Default: the one that was active before. */
  releaseId?: string | null | undefined
  /** Queue behind a running deploy instead of failing with `deploy_in_progress`. */
  wait?: boolean | null | undefined
  /** Told about each step. If it throws, the promise is rejected with that error and the rollback goes on. */
  onProgress?: ((progress: DeployProgress) => void | Promise<void>) | null | undefined
  /** Ends the waiting: the promise is rejected with the signal's reason, and the rollback goes on in the daemon. */
  signal?: AbortSignal | undefined
}

export interface RestartOptions extends ConfigOption {
  /** One process by its id (`worker#0`), or every replica by the base id (`worker`). */
  process?: string | null | undefined
  /** Only processes of this policy. */
  policy?: "companion" | "singleton" | "service" | null | undefined
}

export interface RestartResult {
  /** Ids of the processes that were restarted, such as `worker#0`. */
  restarted: string[]
}

export type DeployPhase =
  | "config"
  | "ports"
  | "services"
  | "companions"
  | "proxied"
  | "health"
  | "switch"
  | "singletons"
  | (string & {})

export interface DeployProgress {
  /** RFC 3339 time. */
  at: string
  /** Where the deploy is. */
  phase: DeployPhase
  /** The process it is about, if it is about one. */
  processId?: string
  /** What happened, in words. */
  message: string
  /** What programs may want to know of it, such as `pid` and `port` of a process that was started. */
  data?: Record<string, unknown>
}

export interface DeployResult {
  /** The release that has the traffic now. */
  activeReleaseId: string
  /** The release that was active before and now drains; `null` at the first deploy. */
  previousReleaseId: string | null
}

export interface StopOptions extends ConfigOption {
  /** Which release to stop. Default: the active one. */
  releaseId?: string | null | undefined
}

export interface ShutdownResult {
  message: string
}

export interface ConnectionsOptions extends ConfigOption {
  /** Only connections to this release. */
  releaseId?: string | null | undefined
  /** Cut the connection with this `number`. */
  close?: number | null | undefined
}

/** What is open between a client and a release. */
export interface Connection {
  /** Names it for `close`. */
  number: number
  /** The release that answers it. */
  releaseId: string
  /** Which instance of that release, if its id was deployed more than once. */
  instance: number
  /** A request that is being answered, or an upgraded connection such as a WebSocket. */
  kind: "http" | "websocket"
  /** Address of the client. */
  client: string
  method: string
  path: string
  /** How long it has been open. */
  ageMs: number
  /** Bytes from the client to the release so far. */
  bytesIn: number
  /** Bytes from the release to the client so far. */
  bytesOut: number
}

export interface EventsOptions extends ConfigOption {
  /** Only the newest so many of those that are there already. */
  limit?: number | null | undefined
  /** Only events with a higher `seq`. */
  since?: number | null | undefined
  /** Go on with events as they happen: the result is an async iterable. */
  follow?: boolean | null | undefined
  /** With `follow`: ends the iteration, which then throws the signal's reason. */
  signal?: AbortSignal | null | undefined
  /** With `follow`: told how many events were lost because they were not taken fast enough. */
  onMissed?: ((missed: number) => void) | null | undefined
}

/** A milestone in the life of the daemon. The daemon keeps the last 1000. */
export interface DaemonEvent {
  /** Rises by one with every event. */
  seq: number
  /** RFC 3339 time. */
  at: string
  message: EventMessage
  /** Ids, pids, codes and reasons; never a command, an environment or output. */
  data: Record<string, any>
}

export type EventMessage =
  | "proxy listening"
  | "proxy accepting paused"
  | "proxy accepting resumed"
  | "control socket listening"
  | "deploy starting"
  | "release healthy"
  | "traffic switched"
  | "traffic stopped"
  | "deploy finished"
  | "deploy failed"
  | "rollback starting"
  | "rollback finished"
  | "rollback failed"
  | "stranger on port"
  | "process restart requested"
  | "release draining"
  | "release drained"
  | "release stopped"
  | "process started"
  | "process spawn failed"
  | "process stopping"
  | "process killed"
  | "process exited"
  | "process restart scheduled"
  | "restart limit reached"
  | "memory warning"
  | "memory limit exceeded"
  | "hook failed"
  | "stop requested"
  | "command failed"
  | "orphan found"
  | "stray process found"
  | "engine restarted"
  | "upgrade starting"
  | "daemon upgraded"
  | "upgrade failed"
  | "state file refused"
  | "state file not written"
  | "owner leaving"
  | "owner left"
  | "owner stays"
  | "log not written"
  | "log written again"
  | "log reopened"
  | "log not reopened"
  | "shutdown starting"
  | "shutdown finished"
  | (string & {})

export interface LogsOptions extends ConfigOption {
  /** One process by its id (`worker#0`), or every replica by the base id (`worker`). */
  process?: string | null | undefined
  /** Only processes of this release. Default: every release that is not stopped, services and singletons. */
  releaseId?: string | null | undefined
  /** Only lines with a higher `seq`. */
  since?: number | null | undefined
  /** Go on with lines as they are written, across restarts and deploys: the result is an async iterable. */
  follow?: boolean | null | undefined
  /** With `follow`: ends the iteration, which then throws the signal's reason. */
  signal?: AbortSignal | null | undefined
  /** With `follow`: told how many lines were lost because they were not taken fast enough. */
  onMissed?: ((missed: number) => void) | null | undefined
}

/** The recent output of one process. */
export interface ProcessLogs {
  /** Id of the process. */
  id: string
  /** Id of its release; `service` or `singleton` for what belongs to none. */
  source: string
  logs: LogLine[]
}

/** A line of output with the process that wrote it. */
export interface FollowedLogLine extends LogLine {
  /** Id of the process. */
  id: string
  /** Id of its release; `service` or `singleton` for what belongs to none. */
  source: string
}

/** Values as they come. Leaving the loop ends the following; so does the end of the daemon. */
export interface Follow<Value> extends AsyncIterableIterator<Value, undefined, undefined> {
  return(): Promise<IteratorResult<Value, undefined>>
  [Symbol.asyncDispose](): Promise<void>
}

export interface UpgradeOptions extends ConfigOption {
  /** The program that takes over. Default: the binary of this package. */
  binary?: string | null | undefined
}

export interface UpgradeResult {
  previousVersion: string
  version: string
}

export interface EnsureDaemonOptions {
  /** Path of the config file; the daemon reads it again before each deploy. Default: as for every command. */
  config?: string | undefined
  /** Where a started daemon writes its log. Default: `/tmp/rollbridge-<application>.log`. */
  daemonLogPath?: string | null | undefined
  /** Where it writes its pid. Default: `/tmp/rollbridge-<application>.pid`. */
  daemonPidPath?: string | null | undefined
  /** Folder for the copy of the binary that it runs from. Default: under `$XDG_STATE_HOME` or `~/.local/state`. */
  daemonRuntimePath?: string | null | undefined
  /** How long it may take until it answers. Default: 10000. */
  daemonStartTimeoutMs?: number | null | undefined
}

export interface DoctorOptions extends ConfigOption {
  /** Check this release folder too, with every template and working directory in it. */
  releasePath?: string | null | undefined
  /** The id it would get. */
  releaseId?: string | null | undefined
  /** The revision it would get. */
  revision?: string | null | undefined
}

export interface DoctorReport {
  /** Whether every check passed. */
  ok: boolean
  checks: DoctorCheck[]
}

export interface DoctorCheck {
  name: string
  ok: boolean
  detail: string
}

export interface RecoverOptions extends ConfigOption {
  /** Stop what is left over: SIGTERM, then SIGKILL. Without it, it is only listed. */
  force?: boolean | null | undefined
}

export interface RecoverResult {
  /** What a daemon that crashed had left running. */
  orphans: Orphan[]
  /** What of it still runs. */
  remaining: Orphan[]
  forced: boolean
  /** Whether the state file was removed. */
  cleared: boolean
}

export interface PredeployCleanupOptions extends ConfigOption {
  /** The release to be deployed; a daemon of another version than its package is upgraded or shut down. */
  releasePath?: string | null | undefined
}

export interface PredeployCleanupResult {
  action: "daemon-active" | "daemon-upgraded" | "daemon-stopped" | "no-daemon-cleaned"
  /** What was stopped of an older supervisor. */
  legacyProcesses: unknown[]
  /** What was stopped of a daemon that had crashed. */
  recoveredOrphans: Orphan[]
}

/** Starts a new release, checks its health and switches traffic to it. Resolves once it is active. */
export function deploy(options: DeployOptions): Promise<DeployResult>

/**
 * Goes back to the release that was active before the present one, or to `releaseId`. A release that still drains and
 * is healthy is put back as it is; otherwise it is started again. Code only: nothing undoes a database migration.
 */
export function rollback(options?: RollbackOptions): Promise<DeployResult>

/** Restarts processes in place, one after another; never the proxied one. Resolves to the ids of those restarted. */
export function restart(options?: RestartOptions): Promise<RestartResult>

/** What the daemon runs at the moment. */
export function status(options?: ConfigOption): Promise<Status>

/** Stops a release; services stay. Resolves to the status afterwards. */
export function stop(options?: StopOptions): Promise<Status>

/** Stops everything and ends the daemon. Resolves when all processes are gone. */
export function shutdown(options?: ConfigOption): Promise<ShutdownResult>

/** What clients have open, and with which release: why a release still drains. */
export function connections(options?: ConnectionsOptions): Promise<Connection[]>

/** The recent history of the daemon, oldest first; with `follow`, an async iterable that goes on with what happens. */
export function events(options: EventsOptions & {follow: true}): Follow<DaemonEvent>
export function events(options?: EventsOptions & {follow?: false | null | undefined}): Promise<DaemonEvent[]>

/** The recent output of processes; with `follow`, an async iterable that goes on with what they write. */
export function logs(options: LogsOptions & {follow: true}): Follow<FollowedLogLine>
export function logs(options?: LogsOptions & {follow?: false | null | undefined}): Promise<ProcessLogs[]>

/** Starts a daemon in the background unless one runs. Resolves to its status once it answers. */
export function ensureDaemon(options?: EnsureDaemonOptions): Promise<Status>

/** Replaces the running daemon by another version of it, without an interruption. Resolves when the new one serves. */
export function upgrade(options?: UpgradeOptions): Promise<UpgradeResult>

/** Checks the config and the machine: whether a daemon could start here. A check that fails does not reject. */
export function doctor(options?: DoctorOptions): Promise<DoctorReport>

/** Lists what a daemon that crashed has left running; with `force`, stops it. Needs `statePath` in the config. */
export function recover(options?: RecoverOptions): Promise<RecoverResult>

/** Makes way for the first deploy: ends a daemon that does not fit, orphans, and what `legacyTakeover` names. */
export function predeployCleanup(options?: PredeployCleanupOptions): Promise<PredeployCleanupResult>

/** Checks a config and reports everything that is wrong with it; rejects only if it cannot be read at all. */
export function validateConfig(options?: ConfigOption): Promise<ValidationResult>

/**
 * Reads a config afresh, with all it imports. The result can be passed on as `config`: its application name and
 * control path are filled in and its paths are absolute. Rejects with `invalid_config` if anything is wrong with it.
 */
export function loadConfig(options?: ConfigOption): Promise<LoadedConfig>

export interface LoadedConfig extends RollbridgeConfig {
  application: string
  control: ControlConfig & {path: string}
}

export interface ValidationResult {
  valid: boolean
  /** The config file; `null` when an object was checked. */
  path: string | null
  /** The essentials of a valid config; `null` when there are issues. */
  config: ConfigSummary | null
  /** What must be changed. */
  issues: ConfigIssue[]
  /** What is probably not meant. */
  warnings: ConfigIssue[]
}

export interface ConfigSummary {
  application: string
  /** The control socket; `owner` and `group` as configured, null when not. */
  control: {path: string; owner: number | string | null; group: number | string | null}
  proxy: {host: string; port: number}
  /** How many processes are defined. */
  processes: number
  /** Absolute path of the state file, null when there is none. */
  statePath: string | null
}

export interface ConfigIssue {
  message: string
  /** What to do about it. */
  fix: string
}

// ---------------------------------------------------------------------------------------------------------------------
// A daemon inside this process

/**
 * A daemon inside this Node process, for tests and for programs that want to own it. It is the engine of the binary: it
 * runs on threads of its own and never blocks the event loop. Its processes belong to a child process that stops them when
 * Node goes away, even by SIGKILL. While it runs it keeps Node alive, as a server does.
 *
 * @example
 * await using daemon = await new Daemon("rollbridge.mjs").start()
 * await daemon.deploy({releasePath: "releases/v1"})
 * console.log(daemon.proxyPort)
 */
export class Daemon {
  /**
   * Nothing happens before `start`.
   *
   * @param config Path of the config file, which is read again before each deploy and rollback, or the config itself.
   *   Default: as for every command. Only with `control.path` set is there a control socket for the command line.
   */
  constructor(config?: string | RollbridgeConfig)
  /** The port the proxy listens on; `null` before `start`. */
  readonly proxyPort: number | null
  /** Resolves to this daemon once its proxy listens. Until the first deploy it answers 503. */
  start(): Promise<this>
  /** As the function `deploy`. */
  deploy(options: Omit<DeployOptions, "config">): Promise<DeployResult>
  /** As the function `rollback`. */
  rollback(options?: Omit<RollbackOptions, "config">): Promise<DeployResult>
  /** As the function `restart`. */
  restart(options?: Omit<RestartOptions, "config">): Promise<RestartResult>
  /** As the function `status`. */
  status(): Promise<Status>
  /** As the function `stop`. */
  stop(options?: Omit<StopOptions, "config">): Promise<Status>
  /** As the function `connections`. */
  connections(options?: Omit<ConnectionsOptions, "config">): Promise<Connection[]>
  /** As the function `events`. */
  events(options: Omit<EventsOptions, "config"> & {follow: true}): Follow<DaemonEvent>
  events(options?: Omit<EventsOptions, "config"> & {follow?: false | null | undefined}): Promise<DaemonEvent[]>
  /** As the function `logs`. */
  logs(options: Omit<LogsOptions, "config"> & {follow: true}): Follow<FollowedLogLine>
  logs(options?: Omit<LogsOptions, "config"> & {follow?: false | null | undefined}): Promise<ProcessLogs[]>
  /** Stops everything. Resolves when nothing is left of it, at once if it does not run. A new start needs a new object. */
  shutdown(): Promise<void>
  /** `await using` shuts it down at the end of the block. */
  [Symbol.asyncDispose](): Promise<void>
}

// ---------------------------------------------------------------------------------------------------------------------
// Status

export interface Status {
  application: string
  /** Version of the running daemon. */
  version: string
  protocolVersion: number
  activeReleaseId: string | null
  control: {path: string}
  proxy: {host: string; port: number; upstreamHost: string}
  /** The copy of the binary the daemon runs from; `null` when it runs in place. */
  daemonRuntime: DaemonRuntime | null
  /** The release the daemon was started with; `null` when it was started without one. */
  bootstrap: Bootstrap | null
  /** The process that does the daemon's work: how many ended before it in the middle of that, and how the last of them did. */
  engine: {pid: number; restarts: number; exitCode: number | null; exitSignal: string | null}
  /** Processes that an earlier daemon left behind. */
  orphans: Orphan[]
  releases: ReleaseStatus[]
  services: SharedProcessStatus[]
  singletons: SharedProcessStatus[]
}

export interface DaemonRuntime {
  format: number
  version: string
  digest: string
  path: string
}

export interface Bootstrap {
  releaseId: string
  releasePath: string
  revision: string
  attestation: string | null
}

export interface Orphan {
  id: string
  pid: number
  releaseId: string | null
}

export type ReleaseState = "starting" | "active" | "draining" | "stopped" | "failed"

export interface ReleaseStatus {
  releaseId: string
  /** Counts up when the same id is deployed again. */
  instance: number
  releasePath: string
  revision: string
  state: ReleaseState
  /** Port of each process that has one, by process id. */
  ports: Record<string, number>
  /** Requests being answered and WebSockets (or other upgraded connections) open. */
  connections: {http: number; websocket: number}
  connectionCount: number
  /** RFC 3339 times. */
  activatedAt: string | null
  drainStartedAt: string | null
  stoppedAt: string | null
  processes: ProcessStatus[]
}

export interface SharedProcessStatus {
  id: string
  process: ProcessStatus
}

export type ProcessPolicy = "proxied" | "companion" | "singleton" | "service"

/** `backoff` waits for `nextRestartAt`; in `failed` nothing more happens by itself. */
export type ProcessState = "starting" | "running" | "stopping" | "backoff" | "stopped" | "failed"

export type StartReason = "deploy" | "rollback" | "crash" | "manual" | "memory"

/** Every field is always there; `null` means unknown. */
export interface ProcessStatus {
  /** `worker`, or `worker#0` for a replica. */
  id: string
  /** The id as the config has it. */
  baseId: string
  replicaIndex: number | null
  policy: ProcessPolicy
  releaseId: string | null
  state: ProcessState
  pid: number | null
  port: number | null
  command: string | null
  cwd: string | null
  startedAt: string | null
  uptimeMs: number | null
  /** Automatic restarts after crashes. */
  restarts: number
  nextRestartAt: string | null
  lastStartReason: StartReason | null
  exitCode: number | null
  exitSignal: string | null
  logs: LogLine[]
  rssBytes: number | null
  memoryRestarts: number
  lastMemoryRestartAt: string | null
  children: ChildProcessStatus[] | null
}

export interface LogLine {
  /** Rises by one per line. */
  seq: number
  at: string
  stream: "stdout" | "stderr"
  line: string
}

export interface ChildProcessStatus {
  pid: number
  command: string
  rssBytes: number
}

// ---------------------------------------------------------------------------------------------------------------------
// Errors

export type ErrorCode =
  | "invalid_config"
  | "config_unreadable"
  | "reload_incompatible"
  | "invalid_request"
  | "unknown_command"
  | "release_path_missing"
  | "port_exhausted"
  | "spawn_failed"
  | "process_exited"
  | "health_timeout"
  | "post_switch_failed"
  | "deploy_in_progress"
  | "deploy_cancelled"
  | "no_previous_release"
  | "release_not_found"
  | "already_active"
  | "process_not_found"
  | "proxied_not_restartable"
  | "upgrade_failed"
  | "shutting_down"
  | "no_daemon"
  | "connection_lost"
  | "foreign_daemon"
  | "internal"

/** What the functions of this package reject with when the daemon, or the config, says no. */
export class RollbridgeError extends Error {
  private constructor()
  /** Stable word for programs. */
  readonly code: ErrorCode
  /** Of a failed deploy: where it failed. */
  readonly phase?: DeployPhase | null
  /** Of a failed deploy: the process it failed on. */
  readonly processId?: string | null
  readonly exitCode?: number | null
  readonly exitSignal?: string | null
  /** Of a failed deploy: the last output of that process. */
  readonly logs?: LogLine[]
  /** Of a failed deploy or rollback: the release that was to become active. */
  readonly releaseId?: string | null
  /** Of a failed deploy or rollback: the release that has the traffic. */
  readonly activeReleaseId?: string | null
  /** Of `invalid_config`: what must be changed. */
  readonly issues?: ConfigIssue[]
  /** Of `invalid_config`: what is probably not meant. */
  readonly warnings?: ConfigIssue[]
}
