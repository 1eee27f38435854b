"use strict"

// The package's programmatic face. The native addon talks to the daemon and judges configs; this file gives each
// command its JavaScript shape. index.d.ts documents every option and result.

const {checkConfig, readConfig, requireValidConfig} = require("./lib/config.js")
const {followCommand, sendCommand} = require("./lib/control.js")
const {Daemon} = require("./lib/daemon.js")
const {RollbridgeError} = require("./lib/error.js")
const requests = require("./lib/requests.js")
const {runBinary} = require("./lib/run-binary.js")

/** @type {(config: any) => any} */
const defineConfig = (config) => config

/** @type {typeof import("./index.js").validateConfig} */
async function validateConfig({config: source} = {}) {
  const read = await readConfig(source)
  const {config, issues, warnings} = checkConfig(read)
  return {valid: config !== null, path: read.file, config, issues, warnings}
}

/** @type {typeof import("./index.js").loadConfig} */
async function loadConfig({config: source} = {}) {
  const {read, config} = await requireValidConfig(source)
  const value = /** @type {import("./index.js").RollbridgeConfig} */ (read.value)
  return {
    ...value,
    application: config.application,
    control: {...value.control, path: config.control.path},
    ...(config.statePath && {statePath: config.statePath})
  }
}

/** @type {typeof import("./index.js").deploy} */
async function deploy(options) {
  const {config, onProgress, signal} = options ?? {}
  return sendCommand(config, requests.deployRequest(options ?? {}), {onProgress, signal})
}

/** @type {typeof import("./index.js").rollback} */
async function rollback({config, onProgress, signal, ...options} = {}) {
  return sendCommand(config, requests.rollbackRequest(options), {onProgress, signal})
}

/** @type {typeof import("./index.js").restart} */
async function restart({config, ...options} = {}) {
  return sendCommand(config, requests.restartRequest(options))
}

/** @type {typeof import("./index.js").status} */
async function status({config} = {}) {
  return sendCommand(config, {command: "status"})
}

/** @type {typeof import("./index.js").stop} */
async function stop({config, ...options} = {}) {
  return sendCommand(config, requests.stopRequest(options))
}

/** @type {typeof import("./index.js").connections} */
async function connections({config, ...options} = {}) {
  return (await sendCommand(config, requests.connectionsRequest(options))).connections
}

/** @type {typeof import("./index.js").shutdown} */
async function shutdown({config} = {}) {
  return sendCommand(config, {command: "shutdown"})
}

/** @type {typeof import("./index.js").upgrade} */
async function upgrade({config, ...options} = {}) {
  return sendCommand(config, requests.upgradeRequest(options))
}

/** @type {any} Two shapes: a promise of what there is, or an iterable of what comes. */
const events = (/** @type {import("./index.js").EventsOptions} */ {config, follow, signal, onMissed, ...options} = {}) => {
  const request = requests.eventsRequest(options)
  if (follow) return followCommand(config, request, {signal, onMissed})
  return sendCommand(config, request).then((answer) => answer.events)
}

/** @type {any} Two shapes, as of `events`. */
const logs = (/** @type {import("./index.js").LogsOptions} */ {config, follow, signal, onMissed, ...options} = {}) => {
  const request = requests.logsRequest(options)
  if (follow) return followCommand(config, request, {signal, onMissed})
  return sendCommand(config, request).then((answer) => answer.logs)
}

/** @type {typeof import("./index.js").ensureDaemon} */
async function ensureDaemon(options = {}) {
  const {config, daemonLogPath, daemonPidPath, daemonRuntimePath, daemonStartTimeoutMs} = options
  if (typeof config === "object" && config !== null) {
    throw new TypeError("ensureDaemon needs the path of a config file: the daemon reads it again before each deploy")
  }
  await requireValidConfig(config)
  return runBinary(config, "ensure-daemon", [
    "--json",
    ...option("--daemon-log-path", daemonLogPath),
    ...option("--daemon-pid-path", daemonPidPath),
    ...option("--daemon-runtime-path", daemonRuntimePath),
    ...option("--daemon-start-timeout-ms", daemonStartTimeoutMs)
  ])
}

/** @type {typeof import("./index.js").doctor} */
async function doctor({config, releasePath, releaseId, revision} = {}) {
  const release = [
    ...option("--release-path", releasePath),
    ...option("--release-id", releaseId),
    ...option("--revision", revision)
  ]
  return runBinary(config, "doctor", ["--json", ...release])
}

/** @type {typeof import("./index.js").recover} */
async function recover({config, force} = {}) {
  await requireValidConfig(config)
  return runBinary(config, "recover", ["--json", ...(force ? ["--force"] : [])])
}

/** @type {typeof import("./index.js").predeployCleanup} */
async function predeployCleanup({config, releasePath} = {}) {
  await requireValidConfig(config)
  return runBinary(config, "predeploy-cleanup", ["--json", ...option("--release-path", releasePath)])
}

/**
 * An option of the command line, unless it is not set.
 *
 * @param {string} name
 * @param {string | number | null | undefined} value
 */
function option(name, value) {
  return value === undefined || value === null ? [] : [`${name}=${value}`]
}

// Plain names only: that is what makes `import { deploy } from "rollbridge"` work for ES modules.
module.exports = {
  Daemon,
  RollbridgeError,
  connections,
  defineConfig,
  deploy,
  doctor,
  ensureDaemon,
  events,
  loadConfig,
  logs,
  predeployCleanup,
  recover,
  restart,
  rollback,
  shutdown,
  status,
  stop,
  upgrade,
  validateConfig
}
