"use strict"

// The package's programmatic face. The native addon talks to the daemon and judges configs; this file gives each
// command its JavaScript shape. index.d.ts documents every option and result.

const path = require("node:path")
const {checkConfig, readConfig, requireValidConfig} = require("./lib/config.js")
const {sendCommand} = require("./lib/control.js")
const {RollbridgeError} = require("./lib/error.js")

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
  const {config, releasePath, releaseId, revision, wait, waitDrained, onProgress, signal} = options ?? {}
  if (typeof releasePath !== "string" || releasePath === "") {
    throw new TypeError("deploy needs releasePath, the folder of the prepared release")
  }
  const request = {
    command: "deploy",
    releasePath: path.resolve(releasePath),
    releaseId,
    revision,
    wait,
    waitDrained,
    progress: onProgress ? true : undefined
  }
  return sendCommand(config, request, {onProgress, signal})
}

/** @type {typeof import("./index.js").rollback} */
async function rollback({config, releaseId, wait, onProgress, signal} = {}) {
  const request = {command: "rollback", releaseId, wait, progress: onProgress ? true : undefined}
  return sendCommand(config, request, {onProgress, signal})
}

/** @type {typeof import("./index.js").restart} */
async function restart({config, process: processId, policy} = {}) {
  return sendCommand(config, {command: "restart", processId, policy})
}

/** @type {typeof import("./index.js").status} */
async function status({config} = {}) {
  return sendCommand(config, {command: "status"})
}

/** @type {typeof import("./index.js").stop} */
async function stop({config, releaseId} = {}) {
  return sendCommand(config, {command: "stop", releaseId})
}

/** @type {typeof import("./index.js").shutdown} */
async function shutdown({config} = {}) {
  return sendCommand(config, {command: "shutdown"})
}

// Plain names only: that is what makes `import { deploy } from "rollbridge"` work for ES modules.
module.exports = {
  RollbridgeError,
  defineConfig,
  deploy,
  loadConfig,
  restart,
  rollback,
  shutdown,
  status,
  stop,
  validateConfig
}
