"use strict"

// One command to the daemon that the config names, and its answer as a result or an error.

const {addon} = require("./addon.js")
const {requireValidConfig} = require("./config.js")
const {RollbridgeError} = require("./error.js")

/**
 * @param {unknown} config
 * @param {{command: string} & Record<string, unknown>} request
 * @param {object} [listening]
 * @param {((progress: any) => void | Promise<void>) | null | undefined} [listening.onProgress]
 * @param {AbortSignal | undefined} [listening.signal] ends the waiting, not the command
 */
async function sendCommand(config, request, {onProgress, signal} = {}) {
  signal?.throwIfAborted()
  const {control} = (await requireValidConfig(config)).config
  signal?.throwIfAborted()
  const answer = JSON.parse(await finalLine(JSON.stringify(control), JSON.stringify(request), onProgress, signal))
  const {status, ...fields} = answer
  if (status === "success") return fields
  const {error, code, ...details} = fields
  throw new RollbridgeError(error, code, details)
}

/**
 * @param {string} controlJson
 * @param {string} requestJson
 */
function unsent(controlJson, requestJson) {
  try {
    return new (addon().Request)(controlJson, requestJson)
  } catch (error) {
    const reason = error instanceof Error ? error.message : error
    throw new RollbridgeError(`the request cannot be sent: ${reason}`, "invalid_request")
  }
}

/**
 * @param {string} controlJson
 * @param {string} requestJson
 * @param {((progress: any) => void | Promise<void>) | null | undefined} onProgress
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<string>}
 */
function finalLine(controlJson, requestJson, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = unsent(controlJson, requestJson)
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
      .then(resolve, reject)
      .finally(() => signal?.removeEventListener("abort", abort))
  })
}

module.exports = {sendCommand}
