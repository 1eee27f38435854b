// Many connections at once, opened a few at a time.

import {once} from "node:events"
import {connect} from "node:net"

const atOnce = 100

/**
 * @typedef {object} Opened
 * @property {() => Promise<number>} echo how many still answer
 * @property {() => Promise<void>} close
 */

/**
 * WebSockets; each has had one message echoed.
 *
 * @param {number} port
 * @param {number} count
 * @returns {Promise<Opened>}
 */
export function openWebSockets(port, count) {
  const upgrade = `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
  return open(port, count, upgrade, "\r\n\r\n", "\x81\x85\0\0\0\0hello")
}

/**
 * Plain connections; each has had one answer.
 *
 * @param {number} port
 * @param {number} count
 * @returns {Promise<Opened>}
 */
export function openKeptAlive(port, count) {
  const request = `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`
  return open(port, count, request, "hello from the application", request)
}

/**
 * @param {number} port
 * @param {number} count
 * @param {string} first sent on each
 * @param {string} ending of the answer to it
 * @param {string} second sent afterwards, answered with anything that ends like itself or like the first answer
 * @returns {Promise<Opened>}
 */
async function open(port, count, first, ending, second) {
  /** @type {import("node:net").Socket[]} */
  const sockets = []
  const ask = async (/** @type {import("node:net").Socket} */ socket, /** @type {string} */ text, /** @type {string} */ end) => {
    let unread = ""
    socket.write(text, "latin1")
    while (!unread.endsWith(end)) {
      const [data] = await once(socket, "data", {signal: AbortSignal.timeout(30_000)})
      unread += data.toString("latin1")
    }
  }
  const openOne = async () => {
    const socket = connect(port, "127.0.0.1").setNoDelay()
    await once(socket, "connect")
    await ask(socket, first, ending)
    if (ending === "\r\n\r\n") await ask(socket, second, "hello")
    socket.on("error", () => {})
    sockets.push(socket)
  }
  for (let opened = 0; opened < count; opened += atOnce) {
    await Promise.all(Array.from({length: Math.min(atOnce, count - opened)}, openOne))
  }
  return {
    echo: async () => {
      let answered = 0
      for (let at = 0; at < count; at += atOnce) {
        const asked = sockets.slice(at, at + atOnce).map((socket) => ask(socket, second, "hello").then(() => true, () => false))
        answered += (await Promise.all(asked)).filter(Boolean).length
      }
      return answered
    },
    close: async () => {
      await Promise.all(sockets.map((socket) => {
        const closed = once(socket, "close")
        socket.destroy()
        return closed
      }))
    }
  }
}
