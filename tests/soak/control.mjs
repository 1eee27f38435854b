// A client of the control socket that knows only what the protocol promises.

import {connect} from "node:net"
import {setTimeout as wait} from "node:timers/promises"

/** The connection ended before the answer. */
export class ConnectionLost extends Error {}

/**
 * One request and its answer, an error answer included. Rejects when there is none.
 *
 * @param {string} path of the socket
 * @param {Record<string, unknown>} request
 * @param {number} [timeoutMs]
 * @returns {Promise<any>}
 */
export function ask(path, request, timeoutMs = 120_000) {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new Error(`${request.command} was not answered within ${timeoutMs} ms`))
    }, timeoutMs)
    onLines(socket, (line) => {
      clearTimeout(timer)
      socket.end()
      resolve(line)
    })
    socket.on("error", () => {})
    socket.on("close", () => {
      clearTimeout(timer)
      reject(new ConnectionLost(`the connection ended before ${request.command} was answered`))
    })
    socket.write(`${JSON.stringify(request)}\n`)
  })
}

/**
 * Follows until `isOver`, over as many connections as it takes. `request` says what to ask for next; `receive` gets
 * each line that is not the last answer.
 *
 * @param {string} path
 * @param {() => Record<string, unknown>} request
 * @param {(line: any) => void} receive
 * @param {() => boolean} isOver
 */
export async function follow(path, request, receive, isOver) {
  while (!isOver()) {
    await new Promise((resolve) => {
      const socket = connect(path)
      onLines(socket, (line) => {
        if (line.status === "success" || line.status === "error") socket.end()
        else receive(line)
      })
      const look = setInterval(() => isOver() && socket.destroy(), 200)
      socket.on("error", () => {})
      socket.on("close", () => {
        clearInterval(look)
        resolve(undefined)
      })
      socket.write(`${JSON.stringify(request())}\n`)
    })
    await wait(20)
  }
}

/**
 * @param {import("node:net").Socket} socket
 * @param {(line: any) => void} receive
 */
function onLines(socket, receive) {
  let unfinished = ""
  socket.setEncoding("utf8")
  socket.on("data", (text) => {
    const lines = `${unfinished}${text}`.split("\n")
    unfinished = lines.pop() ?? ""
    for (const line of lines) receive(JSON.parse(line))
  })
}
