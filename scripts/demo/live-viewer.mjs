// One viewer of /live: follows the server's numbered messages over a WebSocket and notices whatever goes missing.

import {WebSocket} from "ws"

const closeNormally = 1000

export class LiveViewer {
  received = 0
  /** Who sends the messages at the moment. @type {string | undefined} */
  version
  /** Connections that ended although nobody here asked for it. */
  cuts = 0
  /** @type {string[]} */
  faults = []
  #url
  /** @type {WebSocket | undefined} */
  #socket

  /** @param {{port: number}} options */
  constructor({port}) {
    this.#url = `ws://127.0.0.1:${port}/live`
  }

  /** Resolves once the first message and the echo of our own have come. */
  open() {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(this.#url)
      const greeting = "are you there?"
      let next = 1
      let echoed = false
      this.#socket = socket

      socket.on("open", () => socket.send(greeting))
      socket.on("message", (text) => {
        const {number, echo, version} = JSON.parse(text.toString())
        if (echo === greeting) echoed = true
        if (number !== undefined) {
          if (number !== next) this.faults.push(`message ${number} came where ${next} was due`)
          next = number + 1
          this.received += 1
          this.version = version
        }
        if (echoed && next > 1) resolve(undefined)
      })
      socket.on("error", (error) => {
        this.faults.push(error.message)
        reject(error)
      })
      socket.on("close", (code) => {
        if (this.#socket !== socket) return
        this.cuts += 1
        reject(new Error(`the WebSocket was closed with code ${code}`))
      })
    })
  }

  /** Says goodbye; resolves when the server has answered. */
  close() {
    const socket = this.#socket
    this.#socket = undefined
    return new Promise((resolve) => {
      if (socket === undefined || socket.readyState === WebSocket.CLOSED) {
        resolve(undefined)
        return
      }
      socket.once("close", resolve)
      socket.close(closeNormally)
    })
  }
}
