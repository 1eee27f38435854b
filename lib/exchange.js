"use strict"

// One request to a daemon and its final answer, as a result or an error. Which daemon, the caller decides: it hands in a
// function that makes a native request.

const {addon} = require("./addon.js")
const {RollbridgeError} = require("./error.js")

/**
 * Makes a request that is not sent yet.
 *
 * @callback Open
 * @param {string} requestJson
 * @returns {import("./addon.js").Request}
 */

/**
 * @typedef {object} Listening
 * @property {((progress: any) => void | Promise<void>) | null | undefined} [onProgress]
 * @property {AbortSignal | null | undefined} [signal] ends the waiting, not the command
 */

/**
 * Requests to the daemon behind a control socket.
 *
 * @param {object} control the `control` of a checked config
 * @returns {Open}
 */
function socketRequests(control) {
  const controlJson = JSON.stringify(control)
  return (requestJson) => new (addon().Request)(controlJson, requestJson)
}

/**
 * Sends a request and resolves to the fields of its success line.
 *
 * @param {Open} open
 * @param {{command: string} & Record<string, unknown>} request
 * @param {Listening} [listening]
 * @returns {Promise<any>}
 */
async function ask(open, request, {onProgress, signal} = {}) {
  signal?.throwIfAborted()
  const progress = onProgress ? true : undefined
  const answer = JSON.parse(await finalLine(prepared(open, {...request, progress}), onProgress, signal))
  return resultOf(answer)
}

/**
 * The fields of a success line; an error line is thrown.
 *
 * @param {{status: string} & Record<string, any>} answer
 */
function resultOf({status, ...fields}) {
  if (status === "success") return fields
  const {error, code, ...details} = fields
  throw new RollbridgeError(error, code, details)
}

/**
 * @param {Open} open
 * @param {Record<string, unknown>} request
 */
function prepared(open, request) {
  try {
    return open(JSON.stringify(request))
  } catch (error) {
    if (error instanceof RollbridgeError) throw error
    const reason = error instanceof Error ? error.message : error
    throw new RollbridgeError(`the request cannot be sent: ${reason}`, "invalid_request")
  }
}

/**
 * @param {import("./addon.js").Request} request
 * @param {Listening["onProgress"]} onProgress
 * @param {AbortSignal | null | undefined} signal
 * @returns {Promise<string>}
 */
function finalLine(request, onProgress, signal) {
  return new Promise((resolve, reject) => {
    let failed = false
    const abort = () => {
      request.abandon()
      reject(signal?.reason)
    }
    signal?.addEventListener("abort", abort, {once: true})

    // Async, because a callback that throws into native code would end the process.
    const onLine = async (/** @type {string} */ line) => {
      if (signal?.aborted || failed) return
      try {
        const {status, ...progress} = JSON.parse(line)
        if (status === "progress") await onProgress?.(progress)
      } catch (error) {
        failed = true
        reject(error)
        request.abandon()
      }
    }

    request
      .answer(onProgress ? onLine : undefined)
      .then(resolve, (error) => reject(internalError(error)))
      .finally(() => signal?.removeEventListener("abort", abort))
  })
}

/**
 * What the native side rejects with is a fault of its own.
 *
 * @param {unknown} cause
 */
function internalError(cause) {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new RollbridgeError(reason, "internal", {cause})
}

module.exports = {ask, internalError, prepared, resultOf, socketRequests}
