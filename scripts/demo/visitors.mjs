// Visitors of the ticket server: each keeps one HTTP connection open and sends one request after the other.

import {Agent, request} from "node:http"
import {setTimeout as wait} from "node:timers/promises"

const pauseMs = 8

/** What a visitor does, in turn. */
const visits = [
  {path: "/version", expected: 200},
  {path: "/slow?ms=25", expected: 200},
  {path: "/version", expected: 200},
  {path: "/", expected: 200},
  {path: "/version", expected: 200},
  {path: "/tickets", expected: 201, ticket: {title: "The door is stuck", priority: "low"}}
]

export class Visitors {
  requestsMade = 0
  /** @type {string[]} */
  failures = []
  /** How often each version has answered. @type {Map<string, number>} */
  answersByVersion = new Map()
  #port
  #count
  #going = false
  /** @type {Promise<void>[]} */
  #walks = []

  /** @param {{port: number, count: number}} options */
  constructor({port, count}) {
    this.#port = port
    this.#count = count
  }

  start() {
    this.#going = true
    this.#walks = Array.from({length: this.#count}, (_, index) => this.#walk(index))
  }

  /** Resolves when all requests that were begun are answered. */
  async stop() {
    this.#going = false
    await Promise.all(this.#walks)
  }

  /** The version that answers a new visitor now. */
  async versionNow() {
    const {body} = await fetchText(this.#port, new Agent(), {path: "/version"})
    return JSON.parse(body).version
  }

  /** @param {number} start where in the list of visits this one begins */
  async #walk(start) {
    const agent = new Agent({keepAlive: true, maxSockets: 1})
    for (let step = start; this.#going; step += 1) {
      await this.#visit(agent, visits[step % visits.length])
      await wait(pauseMs)
    }
    agent.destroy()
  }

  /**
   * @param {Agent} agent
   * @param {typeof visits[number]} visit
   */
  async #visit(agent, visit) {
    this.requestsMade += 1
    try {
      const {status, body} = await fetchText(this.#port, agent, visit)
      if (status !== visit.expected) throw new Error(`status ${status}: ${body.slice(0, 200)}`)
      if (visit.path === "/version") this.#countAnswer(JSON.parse(body).version)
    } catch (error) {
      this.failures.push(`${visit.path}: ${error instanceof Error ? error.message : error}`)
    }
  }

  /** @param {string} version */
  #countAnswer(version) {
    this.answersByVersion.set(version, (this.answersByVersion.get(version) ?? 0) + 1)
  }
}

/**
 * @param {number} port
 * @param {Agent} agent
 * @param {{path: string, ticket?: object}} visit
 * @returns {Promise<{status: number | undefined, body: string}>}
 */
function fetchText(port, agent, {path, ticket}) {
  return new Promise((resolve, reject) => {
    const options = {
      host: "127.0.0.1",
      port,
      path,
      agent,
      method: ticket ? "POST" : "GET",
      headers: ticket && {"content-type": "application/json"}
    }
    const outgoing = request(options, (response) => {
      let body = ""
      response.setEncoding("utf8")
      response.on("data", (text) => {
        body += text
      })
      response.on("error", reject)
      response.on("end", () => resolve({status: response.statusCode, body}))
    })
    outgoing.on("error", reject)
    outgoing.end(ticket && JSON.stringify(ticket))
  })
}
