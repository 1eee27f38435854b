// Connections that stay open: server-sent events and WebSockets, each with numbers that must come in order.

import {get} from "node:http"
import {setTimeout as wait} from "node:timers/promises"
import {WebSocket} from "ws"

const openingMs = 90_000
const silenceMs = 60_000

/**
 * @typedef {object} Tunnel how one ended
 * @property {string} kind
 * @property {number} began
 * @property {number} ended
 * @property {string} outcome "left" when its client wanted it so, "ended", or what came instead
 * @property {string} [release]
 * @property {string} [pid]
 */

/**
 * @typedef {object} Ear what is to be told of a tunnel
 * @property {(headers: import("node:http").IncomingHttpHeaders) => void} opened
 * @property {(number: number, due: number) => void} heard
 * @property {(outcome: string) => void} end
 */

export class Tunnels {
  /** @type {Tunnel[]} */
  ended = []
  /** @type {string[]} */
  wrong = []
  messages = 0
  /** Those that are open now. */
  open = 0
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
    for (let client = 0; client < 6; client += 1) this.#load.client(() => this.#keep((stay) => this.#webSocket(stay)), 20)
    for (let client = 0; client < 4; client += 1) this.#load.client(() => this.#keep((stay) => this.#events(stay)), 20)
  }

  /** @param {(stayMs: number) => Promise<Tunnel>} visit */
  async #keep(visit) {
    const tunnel = await visit(this.#random.between(500, 30_000))
    this.ended.push(tunnel)
    // As a browser would: not at once.
    if (tunnel.outcome !== "left") await wait(50)
  }

  /**
   * @param {number} stayMs
   * @returns {Promise<Tunnel>}
   */
  #webSocket(stayMs) {
    return this.#tunnel("WebSocket", stayMs, (tunnel) => {
      const socket = new WebSocket(`ws://127.0.0.1:${this.#load.port}/live`)
      let [said, asked, echoed] = [0, 0, 0]
      const talk = setInterval(() => {
        if (socket.readyState !== WebSocket.OPEN) return
        asked += 1
        socket.send(`asked ${asked}`)
      }, 100)
      socket.on("upgrade", ({headers}) => tunnel.opened(headers))
      socket.on("message", (content) => {
        const [word, number] = content.toString().split(" ")
        const due = word === "said" ? (said += 1) : (echoed += 1)
        tunnel.heard(Number(number), due)
      })
      socket.on("unexpected-response", (_request, {statusCode}) => {
        tunnel.end(`status ${statusCode}`)
        socket.terminate()
      })
      socket.on("error", (error) => tunnel.end(outcomeOf(error)))
      socket.on("close", (code) => {
        clearInterval(talk)
        if (echoed > asked) this.wrong.push(`${echoed} echoes of ${asked} messages`)
        tunnel.end(code === 1001 ? "ended" : "cut")
      })
      return () => socket.close(1000)
    })
  }

  /**
   * @param {number} stayMs
   * @returns {Promise<Tunnel>}
   */
  #events(stayMs) {
    return this.#tunnel("events", stayMs, (tunnel) => {
      let due = 0
      let unfinished = ""
      const asked = get({host: "127.0.0.1", port: this.#load.port, path: "/events", agent: false}, (response) => {
        if (response.statusCode !== 200) tunnel.end(`status ${response.statusCode}`)
        tunnel.opened(response.headers)
        response.setEncoding("utf8")
        response.on("data", (text) => {
          const events = `${unfinished}${text}`.split("\n\n")
          unfinished = events.pop() ?? ""
          for (const event of events) tunnel.heard(Number(event.slice("id: ".length)), (due += 1))
        })
        response.on("error", () => tunnel.end("cut"))
        response.on("end", () => tunnel.end("ended"))
      })
      asked.on("error", (error) => tunnel.end(outcomeOf(error)))
      return () => asked.destroy()
    })
  }

  /**
   * @param {string} kind
   * @param {number} stayMs
   * @param {(tunnel: Ear) => () => void} open returns what closes it
   * @returns {Promise<Tunnel>}
   */
  #tunnel(kind, stayMs, open) {
    return new Promise((resolve) => {
      /** @type {Tunnel} */
      const tunnel = {kind, began: performance.now(), ended: 0, outcome: "left"}
      let isOpen = false
      let isOver = false
      let leaves = false
      let lastHeard = performance.now()
      const end = (/** @type {string} */ outcome) => {
        if (isOver) return
        isOver = true
        clearInterval(look)
        if (isOpen) this.open -= 1
        resolve({...tunnel, ended: performance.now(), outcome: leaves ? "left" : outcome})
      }
      const close = open({
        opened: ({"x-release": release, "x-pid": pid}) => {
          isOpen = true
          this.open += 1
          Object.assign(tunnel, {release, pid})
        },
        heard: (number, due) => {
          lastHeard = performance.now()
          this.messages += 1
          if (number !== due) this.wrong.push(`${kind}: ${number} came where ${due} was due`)
        },
        end
      })
      const look = setInterval(() => {
        const now = performance.now()
        if (isOpen && !leaves && (this.#load.isOver || now - tunnel.began > stayMs)) {
          leaves = true
          close()
        }
        if (!isOpen && now - tunnel.began > openingMs) end("not answered in time")
        if (now - lastHeard > silenceMs && isOpen) {
          // Its client left and nobody closed, or it was not told that its server is gone.
          leaves = false
          end("silent")
        }
      }, 100)
    })
  }
}

/** @param {NodeJS.ErrnoException} error */
function outcomeOf({code}) {
  return code === "ECONNREFUSED" ? "refused" : "reset"
}
