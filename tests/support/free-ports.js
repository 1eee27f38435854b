"use strict"

// Ports nobody uses at the moment. Another program may take one before we do, so ranges are generous where they can be.

const {createServer} = require("node:net")

const host = "127.0.0.1"

/** @returns {Promise<number>} */
async function freePort() {
  const [port] = await freePorts(1)
  return port
}

/**
 * All different: each stays taken until the last one is found.
 *
 * @param {number} count
 */
async function freePorts(count) {
  const held = []
  for (let index = 0; index < count; index += 1) held.push(await hold(0))
  const ports = held.map(({port}) => port)
  for (const {release} of held) await release()
  return ports
}

/**
 * A range in which at least the first port was free a moment ago.
 *
 * @param {number} size
 * @returns {Promise<{from: number, to: number}>}
 */
async function freePortRange(size) {
  const from = await freePort()
  return from + size <= 65_535 ? {from, to: from + size - 1} : freePortRange(size)
}

/**
 * @param {number} wanted
 * @returns {Promise<{port: number, release: () => Promise<void>}>}
 */
function hold(wanted) {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on("error", reject)
    server.listen(wanted, host, () => {
      const {port} = /** @type {import("node:net").AddressInfo} */ (server.address())
      resolve({port, release: () => new Promise((released) => server.close(() => released()))})
    })
  })
}

module.exports = {freePort, freePortRange, freePorts}
