// Clients nobody likes: slow ones, whose requests must still be answered, and those that vanish in the middle.

import {connect} from "node:net"
import {setTimeout as wait} from "node:timers/promises"

export class RudeClients {
  slow = 0
  vanished = 0
  /** @type {import("./load.mjs").Visit[]} */
  broken = []
  /** @type {string[]} */
  wrong = []
  #load
  #random

  /**
   * @param {import("./load.mjs").Load} load
   * @param {import("./random.mjs").Random} random
   */
  constructor(load, random) {
    this.#load = load
    this.#random = random
  }

  start() {
    this.#load.client(() => this.#writesSlowly(), 100)
    this.#load.client(() => this.#readsSlowly(), 100)
    this.#load.client(() => this.#vanishes(), 50)
  }

  /** A request that comes byte by byte. */
  async #writesSlowly() {
    const id = this.#load.nextId()
    await this.#talk("slow request", id, async (socket) => {
      const text = `GET /echo/${id} HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n\r\n`
      for (let at = 0; at < text.length && !socket.destroyed; at += 8) {
        socket.write(text.slice(at, at + 8))
        await wait(this.#random.between(0, 60))
      }
    }, (answer) => answer.endsWith(`\r\n${id}`) || answer.includes(`\r\n${id}\r\n`))
  }

  /** An answer that is read with long pauses. */
  async #readsSlowly() {
    const id = this.#load.nextId()
    const size = 3_000_000
    const body = Buffer.alloc(size, `${id}.`).toString("latin1")
    await this.#talk("slow reader", id, async (socket) => {
      socket.write(`GET /bytes/${id}?size=${size} HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n\r\n`)
      for (let pause = 0; pause < 8 && !socket.destroyed; pause += 1) {
        socket.pause()
        await wait(this.#random.between(0, 250))
        socket.resume()
        await wait(5)
      }
    }, (answer) => answer.endsWith(body))
  }

  /** Anything, broken off anywhere. */
  async #vanishes() {
    const id = this.#load.nextId()
    const path = this.#random.pick([`/bytes/${id}?size=500000`, "/events", `/long/${id}`, `/echo/${id}`])
    const whole = `GET ${path} HTTP/1.1\r\nhost: soak\r\n\r\n`
    const upload = `POST /uploads/${id} HTTP/1.1\r\nhost: soak\r\ncontent-length: 100000\r\n\r\n${"x".repeat(5000)}`
    const text = this.#random.pick([whole, whole, whole.slice(0, this.#random.between(1, whole.length - 1)), upload])
    const socket = connect(this.#load.port, "127.0.0.1")
    socket.on("error", () => {})
    socket.write(text)
    await wait(this.#random.between(0, 300))
    if (this.#random.next() < 0.5) socket.resetAndDestroy()
    else socket.destroy()
    this.vanished += 1
  }

  /**
   * @param {string} kind
   * @param {string} id
   * @param {(socket: import("node:net").Socket) => Promise<void>} write
   * @param {(answer: string) => boolean} isWhole
   */
  async #talk(kind, id, write, isWhole) {
    const began = performance.now()
    const socket = connect(this.#load.port, "127.0.0.1")
    let answer = ""
    let outcome = "cut"
    socket.setEncoding("latin1")
    socket.on("data", (text) => (answer += text))
    socket.on("error", (/** @type {NodeJS.ErrnoException} */ {code}) => {
      outcome = code === "ECONNREFUSED" ? "refused" : "reset"
    })
    const closed = new Promise((resolve) => socket.once("close", resolve))
    const timer = setTimeout(() => {
      outcome = "not answered in time"
      socket.destroy()
    }, 90_000)
    await write(socket)
    await closed
    clearTimeout(timer)
    const status = /^HTTP\/1.1 (\d+)/.exec(answer)?.[1]
    if (status === "200" && isWhole(answer)) {
      this.slow += 1
      return
    }
    if (status && status !== "200") outcome = `status ${status}`
    else if (outcome === "cut" && !status) outcome = "reset"
    const pid = /^x-pid: (\d+)/im.exec(answer)?.[1]
    const release = /^x-release: (\S+)/im.exec(answer)?.[1]
    this.broken.push({kind, id, repeatable: true, began, ended: performance.now(), outcome, pid, release})
  }
}
