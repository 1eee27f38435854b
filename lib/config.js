"use strict"

// From what a caller passes as `config` (a path, an object, nothing) to a checked config. The rules are the native
// side's, and so is reading JSON; here a module is evaluated and its value handed over.

const path = require("node:path")
const {addon} = require("./addon.js")
const {RollbridgeError} = require("./error.js")
const {evaluateModule} = require("./evaluate-module.js")

/**
 * @typedef {object} ReadConfig
 * @property {unknown} value what the module exported, as plain JSON data
 * @property {unknown[]} problems what in it is not JSON
 * @property {string | null} file the config file, if it came from one
 * @property {string} folder what relative paths in it are relative to
 */

/**
 * @typedef {object} CheckedConfig
 * @property {import("../index.js").ConfigSummary | null} config
 * @property {import("../index.js").ConfigIssue[]} issues
 * @property {import("../index.js").ConfigIssue[]} warnings
 * @property {string} message all issues as one text
 */

/**
 * @param {unknown} config
 * @returns {Promise<ReadConfig>}
 */
async function readConfig(config) {
  if (typeof config === "object" && config !== null) {
    const {toJson} = await import("../config-loader.mjs")
    return {...toJson(config), file: null, folder: process.cwd()}
  }
  if (config !== undefined && config !== null && typeof config !== "string") {
    throw new TypeError(`config must be the path of a config file or a config object, not a ${typeof config}`)
  }
  const found = JSON.parse(addon().configFile(config ?? null, process.cwd()))
  if (found.error !== undefined) throw new RollbridgeError(found.error, found.code)
  const folder = path.dirname(found.path)
  const content = "value" in found ? {value: found.value, problems: []} : await evaluateModule(found.path, folder)
  return {...content, file: found.path, folder}
}

/**
 * @param {ReadConfig} read
 * @returns {CheckedConfig}
 */
function checkConfig({value, problems, file, folder}) {
  const {checkConfig: check} = addon()
  let report
  try {
    report = check(JSON.stringify(value ?? null), JSON.stringify(problems), file, folder)
  } catch (error) {
    const reason = error instanceof Error ? error.message : error
    throw new RollbridgeError(`cannot read ${file ?? "the config object"}: ${reason}`, "config_unreadable")
  }
  return JSON.parse(report)
}

/**
 * The config, or the error that lists everything wrong with it.
 *
 * @param {unknown} config
 */
async function requireValidConfig(config) {
  const read = await readConfig(config)
  const checked = checkConfig(read)
  if (checked.config === null) {
    const {issues, warnings} = checked
    throw new RollbridgeError(checked.message, "invalid_config", {issues, warnings})
  }
  return {read, config: checked.config}
}

module.exports = {checkConfig, readConfig, requireValidConfig}
