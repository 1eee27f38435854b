// A client's side of the broker: stays connected, and starts over from the broker's memory after each reconnection.

import {EventEmitter} from "node:events"
import {connect} from "node:net"
import {onJsonLine, sendJsonLine} from "./json-lines.js"

const reconnectAfterMs = 100

/**
 * Emits `reset` when everything learnt so far is about to be told again, `message` for each message (with its topic,
 * number and whether it is an old one), and `ready` once all subscriptions have caught up.
 */
export class BrokerConnection extends EventEmitter {
  ready = false
  #topics
  #port
  /** @type {import("node:net").Socket | undefined} */
  #socket
  /** @type {NodeJS.Timeout | undefined} */
  #reconnection
  #closing = false
  #behind = 0
  #lastReference = 0
  /** @type {Map<number, {resolve: (number: number) => void, reject: (error: Error) => void}>} */
  #unconfirmed = new Map()

  /** @param {{topics: string[], port?: number}} options */
  constructor({topics, port = Number(process.env.BROKER_PORT)}) {
    super()
    this.#topics = topics
    this.#port = port
    this.#connect()
  }

  /**
   * Resolves to the number the broker gave the message.
   *
   * @param {string} topic
   * @param {object} message
   * @returns {Promise<number>}
   */
  publish(topic, message) {
    return new Promise((resolve, reject) => {
      if (!this.ready) {
        reject(new Error("the broker is not connected"))
        return
      }
      this.#lastReference += 1
      this.#unconfirmed.set(this.#lastReference, {resolve, reject})
      this.#send({publish: topic, message, reference: this.#lastReference})
    })
  }

  close() {
    this.#closing = true
    clearTimeout(this.#reconnection)
    this.#socket?.end()
  }

  #connect() {
    const socket = connect(this.#port, "127.0.0.1")
    this.#socket = socket
    socket.on("connect", () => {
      this.emit("reset")
      this.#behind = this.#topics.length
      for (const topic of this.#topics) this.#send({subscribe: topic})
    })
    onJsonLine(socket, (received) => this.#receive(received))
    socket.on("error", (error) => console.error(`broker: ${error.message}`))
    socket.on("close", () => this.#disconnected())
  }

  #disconnected() {
    this.ready = false
    for (const {reject} of this.#unconfirmed.values()) reject(new Error("the broker went away"))
    this.#unconfirmed.clear()
    if (!this.#closing) this.#reconnection = setTimeout(() => this.#connect(), reconnectAfterMs)
  }

  /** @param {any} received */
  #receive(received) {
    if (received.published !== undefined) {
      this.#unconfirmed.get(received.published)?.resolve(received.number)
      this.#unconfirmed.delete(received.published)
    } else if (received.caughtUp) {
      this.#behind -= 1
      if (this.#behind === 0) {
        this.ready = true
        this.emit("ready")
      }
    } else {
      this.emit("message", received)
    }
  }

  /** @param {object} content */
  #send(content) {
    if (this.#socket) sendJsonLine(this.#socket, content)
  }
}
