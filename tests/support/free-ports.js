"use strict"

// Ports nobody uses at the moment. They lie below those that systems give to connections, where a free one may be taken at
// any moment; and nothing is given away twice, because whoever has a port may not listen on it yet.

const {createServer} = require("node:net")

const host = "127.0.0.1"
const lowest = 20_000
const highest = 31_999
/** @type {Set<number>} */
const given = new Set()

/** @returns {Promise<number>} */
async function freePort() {
  const {from} = await freePortRange(1)
  return from
}

/** @param {number} count */
async function freePorts(count) {
  const ports = []
  for (let index = 0; index < count; index += 1) ports.push(await freePort())
  return ports
}

/**
 * A range in which every port was free a moment ago.
 *
 * @param {number} size
 * @returns {Promise<{from: number, to: number}>}
 */
async function freePortRange(size) {
  const from = lowest + Math.floor(Math.random() * (highest - lowest - size + 2))
  const range = Array.from({length: size}, (_, index) => from + index)
  if (range.some((port) => given.has(port))) return freePortRange(size)
  for (const port of range) given.add(port)
  for (const port of range) if (!(await isFree(port))) return freePortRange(size)
  return {from, to: from + size - 1}
}

/**
 * @param {number} port
 * @returns {Promise<boolean>}
 */
function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer()
    server.once("error", () => resolve(false))
    server.listen(port, host, () => server.close(() => resolve(true)))
  })
}

module.exports = {freePort, freePortRange, freePorts}
