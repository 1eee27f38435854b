"use strict"

/**
 * What every function of this package rejects with when Rollbridge itself says no: the protocol's error, its `code`
 * and whatever other fields came with it (`phase`, `processId`, `logs`, `issues`, …).
 */
class RollbridgeError extends Error {
  /**
   * @param {string} message
   * @param {string} code
   * @param {object} [fields]
   */
  constructor(message, code, fields) {
    super(message)
    this.code = code
    Object.assign(this, fields)
  }
}

// On the prototype, so that it does not show among the fields when the error is printed.
RollbridgeError.prototype.name = "RollbridgeError"

/**
 * @param {string} file the config file
 * @param {unknown} cause
 */
function unreadableConfig(file, cause) {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new RollbridgeError(`cannot load ${file}: ${reason}`, "config_unreadable", {cause})
}

module.exports = {RollbridgeError, unreadableConfig}
