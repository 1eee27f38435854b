// What the clients do, and what becomes of each request.

import {createHash} from "node:crypto"
import {Agent, request} from "node:http"
import {setTimeout as wait} from "node:timers/promises"

/** How long a client waits for anything before it calls that lost. */
const patienceMs = 90_000

/**
 * @typedef {object} Visit one request and what became of it
 * @property {string} kind
 * @property {string} id
 * @property {boolean} repeatable whether the proxy may send it again
 * @property {number} began
 * @property {number} ended
 * @property {string} outcome "answered", or what came instead
 * @property {string} [release] who answered
 * @property {string} [pid]
 */

export class Load {
  /** Those that were not simply answered. @type {Visit[]} */
  broken = []
  /** Of those that were, only what the account needs. @type {Map<string, number>} */
  answered = new Map()
  /** Answers by release, in order: where it changes. @type {{release: string, began: number, ended: number}[]} */
  answers = []
  /** What an answered request must have left in the ledger. @type {Set<string>} */
  recorded = new Set()
  /** What must not be in the ledger, because its client was told so. @type {Set<string>} */
  refused = new Set()
  /** @type {string[]} */
  wrong = []
  slowest = {ms: 0, kind: ""}
  #port
  #random
  #number = 0
  #over = false
  /** @type {Promise<void>[]} */
  #clients = []

  /**
   * @param {number} port
   * @param {import("./random.mjs").Random} random
   */
  constructor(port, random) {
    this.#port = port
    this.#random = random
  }

  get port() {
    return this.#port
  }

  get isOver() {
    return this.#over
  }

  get total() {
    return this.broken.length + [...this.answered.values()].reduce((sum, count) => sum + count, 0)
  }

  start() {
    for (let client = 0; client < 12; client += 1) this.client(() => this.#get("echo"), 10)
    for (let client = 0; client < 3; client += 1) this.client(() => this.#get("long"), 10)
    for (let client = 0; client < 5; client += 1) this.client(() => this.#post("orders", this.#random.between(0, 300)), 20)
    for (let client = 0; client < 2; client += 1) this.client(() => this.#post("uploads", this.#random.between(1, 600_000)), 100)
    for (let client = 0; client < 2; client += 1) this.client(() => this.#get("bytes", this.#random.between(1, 600_000)), 100)
  }

  /**
   * Somebody who does one thing after the other until the load ends.
   *
   * @param {(agent: Agent) => Promise<unknown> | (Plan & {then?: undefined})} what
   * @param {number} pauseMs
   */
  client(what, pauseMs) {
    const agent = new Agent({keepAlive: true, maxSockets: 1})
    const work = async () => {
      while (!this.#over) {
        const plan = await what(agent)
        if (plan) await this.#visit(/** @type {Plan} */ (plan), agent)
        await wait(pauseMs)
      }
      agent.destroy()
    }
    this.#clients.push(work())
  }

  async end() {
    this.#over = true
    await Promise.all(this.#clients)
  }

  /** One more, for whoever wants a number of its own. */
  nextId() {
    this.#number += 1
    return String(this.#number)
  }

  /**
   * @typedef {{kind: string, id: string, method: string, path: string, body?: Buffer, expected: string}} Plan
   */

  /**
   * @param {string} kind
   * @param {number} [size]
   * @returns {Plan}
   */
  #get(kind, size) {
    const id = this.nextId()
    const path = `/${kind}/${id}${size === undefined ? "" : `?size=${size}`}`
    const text = kind === "long" ? `begun ${id}` : id
    return {kind, id, method: "GET", path, expected: digest(size === undefined ? text : Buffer.alloc(size, `${id}.`))}
  }

  /**
   * @param {string} kind
   * @param {number} size
   * @returns {Plan}
   */
  #post(kind, size) {
    const id = this.nextId()
    const body = Buffer.alloc(size, `${id}.`)
    return {kind, id, method: "POST", path: `/${kind}/${id}`, body, expected: digest(kind === "uploads" ? digest(body) : id)}
  }

  /**
   * @param {Plan} plan
   * @param {Agent} agent
   */
  async #visit({kind, id, method, path, body, expected}, agent) {
    const began = performance.now()
    const {outcome, content, release, pid} = await this.#ask(method, path, body, agent)
    const ended = performance.now()
    if (outcome !== "answered") {
      this.broken.push({kind, id, repeatable: method === "GET", began, ended, outcome, release, pid})
      if (outcome === "status 503" || outcome === "refused") this.refused.add(id)
      return
    }
    if (content !== expected) this.wrong.push(`the answer to ${method} ${path} is not what the application sent`)
    if (method === "POST") this.recorded.add(id)
    this.answered.set(kind, (this.answered.get(kind) ?? 0) + 1)
    this.answers.push({release: String(release), began, ended})
    if (ended - began > this.slowest.ms) this.slowest = {ms: ended - began, kind}
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {Buffer | undefined} body
   * @param {Agent} agent
   * @returns {Promise<{outcome: string, content?: string, release?: string, pid?: string}>}
   */
  #ask(method, path, body, agent) {
    return new Promise((resolve) => {
      const headers = {"content-length": body?.length ?? 0}
      const asked = request({agent, host: "127.0.0.1", port: this.#port, method, path, headers})
      const timer = setTimeout(() => {
        resolve({outcome: "not answered in time"})
        asked.destroy()
      }, patienceMs)
      const finish = (/** @type {{outcome: string, content?: string, release?: string, pid?: string}} */ result) => {
        clearTimeout(timer)
        resolve(result)
      }
      asked.on("error", (/** @type {NodeJS.ErrnoException} */ {code}) => {
        finish({outcome: code === "ECONNREFUSED" ? "refused" : "reset"})
      })
      asked.on("response", (response) => {
        const hash = createHash("sha256")
        const {"x-release": release, "x-pid": pid} = /** @type {Record<string, string>} */ (response.headers)
        response.on("data", (piece) => hash.update(piece))
        response.on("error", () => finish({outcome: "cut", release, pid}))
        response.on("end", () => {
          const outcome = response.statusCode === 200 ? "answered" : `status ${response.statusCode}`
          finish({outcome, content: hash.digest("hex"), release, pid})
        })
      })
      asked.end(body)
    })
  }
}

/** @param {string | Buffer} content */
function digest(content) {
  return createHash("sha256").update(content).digest("hex")
}
