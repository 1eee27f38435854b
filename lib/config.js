"use strict";

// From what a caller passes as `config` (a path, an object, nothing) to a checked config. The rules are the native
// side's; here the module is evaluated and its value handed over.

const path = require("node:path");
const { addon } = require("./addon.js");
const { RollbridgeError } = require("./error.js");
const { evaluateModule } = require("./evaluate-module.js");

/**
 * @typedef {object} ReadConfig
 * @property {unknown} value what the module exported, as plain JSON data
 * @property {unknown[]} problems what in it is not JSON
 * @property {string | null} file the config file, if it came from one
 * @property {string} folder what relative paths in it are relative to
 */

/**
 * @typedef {object} CheckedConfig
 * @property {{application: string, controlPath: string, proxy: {host: string, port: number}, processes: number} | null} config
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
    return { ...plainData(config), file: null, folder: process.cwd() };
  }
  if (config !== undefined && config !== null && typeof config !== "string") {
    throw new TypeError(`config must be the path of a config file or a config object, not a ${typeof config}`);
  }
  const found = JSON.parse(addon().configFile(config ?? null, process.cwd()));
  if (found.error !== undefined) throw new RollbridgeError(found.error, found.code);
  const folder = path.dirname(found.path);
  return { ...(await evaluateModule(found.path, folder)), file: found.path, folder };
}

/** @param {object} config */
function plainData(config) {
  try {
    return { value: JSON.parse(JSON.stringify(config)), problems: [] };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new RollbridgeError(`the config object cannot be written as JSON: ${reason}`, "invalid_config", { cause });
  }
}

/**
 * @param {ReadConfig} read
 * @returns {CheckedConfig}
 */
function checkConfig({ value, problems, file, folder }) {
  return JSON.parse(addon().checkConfig(JSON.stringify(value ?? null), JSON.stringify(problems), file, folder));
}

/**
 * The config, or the error that lists everything wrong with it.
 *
 * @param {unknown} config
 */
async function requireValidConfig(config) {
  const read = await readConfig(config);
  const checked = checkConfig(read);
  if (checked.config === null) {
    const { issues, warnings } = checked;
    throw new RollbridgeError(checked.message, "invalid_config", { issues, warnings });
  }
  return { read, config: checked.config };
}

module.exports = { checkConfig, readConfig, requireValidConfig };
