"use strict"

// Commands to the daemon that a config names.

const fs = require("node:fs")
const {requireValidConfig} = require("./config.js")
const {ask, socketRequests} = require("./exchange.js")
const {Following} = require("./following.js")

/**
 * @param {unknown} config
 * @param {{command: string} & Record<string, unknown>} request
 * @param {import("./exchange.js").Listening} [listening]
 */
async function sendCommand(config, request, listening = {}) {
  listening.signal?.throwIfAborted()
  const {control} = (await requireValidConfig(config)).config
  return ask(socketRequests(control), request, listening)
}

/**
 * @param {unknown} config
 * @param {{command: string} & Record<string, unknown>} request
 * @param {import("./following.js").Options} options
 */
function followCommand(config, request, options) {
  const source = async () => {
    const {control} = (await requireValidConfig(config)).config
    // A daemon that ends in good order takes its socket away; one that crashes leaves it.
    return {open: socketRequests(control), isOver: () => !fs.existsSync(control.path)}
  }
  return new Following(source, request, options)
}

module.exports = {followCommand, sendCommand}
