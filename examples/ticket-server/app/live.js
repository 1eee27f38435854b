// WebSockets at /live: numbered messages from the server, and an echo of what the client sends.

import {WebSocketServer} from "ws"

const intervalMs = 50

/** How long a client may take to answer the closing handshake. */
const closingMs = 2000

/**
 * @param {import("node:http").Server} server
 * @param {{version: string, releaseId: string | null, pid: number}} self
 * @returns {() => void} closes all of them
 */
export function attachLive(server, self) {
  const live = new WebSocketServer({server, path: "/live"})

  live.on("connection", (socket) => {
    let number = 0
    const timer = setInterval(() => {
      number += 1
      socket.send(JSON.stringify({number, ...self}))
    }, intervalMs)
    socket.on("message", (content) => socket.send(JSON.stringify({echo: content.toString(), ...self})))
    socket.on("error", (error) => console.error(`live: ${error.message}`))
    socket.on("close", () => clearInterval(timer))
  })

  return () => {
    for (const socket of live.clients) {
      socket.close(1001, "the server is stopping")
      setTimeout(() => socket.terminate(), closingMs).unref()
    }
  }
}
