"use strict"

// Loads the native addon when the first call needs it, so that a config module can import `defineConfig` where the
// native parts are not installed.

const {findAddon} = require("./native.js")

/**
 * What the addon exports. All data crosses as JSON text.
 *
 * @typedef {object} Addon
 * @property {new (controlJson: string, requestJson: string) => Request} Request one control request
 * @property {new () => NativeDaemon} NativeDaemon a daemon inside this process
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

/**
 * @typedef {object} NativeDaemon
 * @property {(valueJson: string, file: string | null, folder: string, binary: string, listens: boolean) => Promise<number>} start
 *   resolves to the proxy's port
 * @property {(valueJson: string, file: string | null, folder: string) => void} handOver the config for the next deploy
 * @property {(requestJson: string) => Request | null} request none while it does not run
 * @property {() => Promise<void>} ended keeps Node alive until nothing is left of it
 */

/** @type {Addon | undefined} */
let loaded

/** @returns {Addon} */
function addon() {
  loaded ??= /** @type {Addon} */ (require(findAddon()))
  return loaded
}

module.exports = {addon}
