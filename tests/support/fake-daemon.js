"use strict"

// Something that speaks the control protocol as a test wants it: for what a real daemon does too rarely to wait for.

const fs = require("node:fs")
const net = require("node:net")
const path = require("node:path")
const {createInterface} = require("node:readline")

/**
 * @callback Answer
 * @param {any} request what a client has sent
 * @param {(line: object) => void} say sends a line
 * @param {net.Socket} socket the connection, to be ended or cut
 */

class FakeDaemon {
  /** Everything that was asked. @type {any[]} */
  requests = []
  /** @type {Set<net.Socket>} */
  #sockets = new Set()
  #server

  /**
   * @param {string} controlPath
   * @param {Answer} answer
   */
  constructor(controlPath, answer) {
    this.controlPath = controlPath
    this.#server = net.createServer((socket) => {
      this.#sockets.add(socket)
      socket.on("error", () => {})
      const lines = createInterface({input: socket}).on("error", () => {})
      lines.on("line", (line) => {
        const request = JSON.parse(line)
        this.requests.push(request)
        answer(request, (fields) => socket.write(`${JSON.stringify(fields)}\n`), socket)
      })
    })
  }

  /** @returns {Promise<this>} */
  listen() {
    return new Promise((resolve) => this.#server.listen(this.controlPath, () => resolve(this)))
  }

  /** Ends as a daemon does in good order, or with `crash` as one that is killed: then its socket stays. */
  async end({crash = false} = {}) {
    // Node removes the file of a server it closes; a second name keeps it as a crash would.
    const kept = `${this.controlPath}.kept`
    if (crash) fs.linkSync(this.controlPath, kept)
    const closed = new Promise((resolve) => this.#server.close(resolve))
    if (crash) fs.renameSync(kept, this.controlPath)
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}

/**
 * A fake daemon that ends with the test, and the config that leads to it.
 *
 * @param {import("node:test").TestContext} t
 * @param {string} folder
 * @param {Answer} answer
 */
async function fakeDaemon(t, folder, answer) {
  const controlPath = path.join(folder, "control.sock")
  const daemon = await new FakeDaemon(controlPath, answer).listen()
  t.after(() => daemon.end().catch(() => {}))
  const web = {id: "web", policy: /** @type {const} */ ("proxied"), command: "true", port: {from: 18182, to: 18299}}
  return {daemon, config: {application: "fake", control: {path: controlPath}, processes: [web]}}
}

module.exports = {FakeDaemon, fakeDaemon}
