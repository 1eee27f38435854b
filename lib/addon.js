"use strict"

// Loads the native addon when the first call needs it, so that a config module can import `defineConfig` where the
// native parts are not installed.

const {findAddon} = require("./native.js")

/**
 * What the addon exports. All data crosses as JSON text.
 *
 * @typedef {object} Addon
 * @property {new (controlJson: string, requestJson: string) => Request} Request one control request
 * @property {(valueJson: string, problemsJson: string, file: string | null, folder: string) => string} checkConfig
 *   validates a config value
 * @property {(path: string | null, cwd: string) => string} configFile where the config is, and its
 *   value if it is JSON
 * @property {(path: string, args: string[], additions: NodeJS.ProcessEnv) => string} becomeBinary
 *   replaces this process, with its environment and the additions; returns only to say why it could not
 * @property {() => string} version
 */

/**
 * @typedef {object} Request
 * @property {(onLine?: (line: string) => Promise<void>) => Promise<string>} answer
 *   sends it; resolves to the final line, also when that is an error
 * @property {() => void} abandon stops waiting for the answer
 */

/** @type {Addon | undefined} */
let loaded

/** @returns {Addon} */
function addon() {
  loaded ??= /** @type {Addon} */ (require(findAddon()))
  return loaded
}

module.exports = {addon}
