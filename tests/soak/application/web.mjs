// The web process: it answers, streams and keeps sockets open, and records what it has done before it says so.

import {createHash} from "node:crypto"
import {createServer} from "node:http"
import {setTimeout as wait} from "node:timers/promises"
import {WebSocketServer} from "ws"
import {openLedger} from "./ledger.mjs"

const release = process.env.ROLLBRIDGE_RELEASE_ID
const hungryBytes = 400 * 1024 * 1024
const done = openLedger("orders")
const complain = openLedger("complaints")
/** @type {Set<import("node:http").ServerResponse>} */
const listeners = new Set()
let stopping = false

/** @typedef {import("node:http").IncomingMessage} Request */
/** @typedef {import("node:http").ServerResponse} Response */

/** @type {Record<string, (request: Request, response: Response, id: string, url: URL) => unknown>} */
const pages = {
  ping: (_request, response) => response.end("pong"),
  async echo(_request, response, id) {
    await wait(Math.random() * 5)
    response.end(id)
  },
  async long(_request, response, id) {
    response.write("begun ")
    await wait(Math.random() * 200)
    response.end(id)
  },
  bytes: (_request, response, id, url) => response.end(Buffer.alloc(Number(url.searchParams.get("size")), `${id}.`)),
  async orders(request, response, id) {
    await bodyOf(request)
    done(id)
    await wait(Math.random() * 5)
    response.end(id)
  },
  async uploads(request, response, id) {
    const digest = createHash("sha256")
    for await (const piece of request) digest.update(piece)
    done(id)
    response.end(digest.digest("hex"))
  },
  events(_request, response) {
    response.writeHead(200, {"content-type": "text/event-stream"})
    if (stopping) return void response.end()
    let number = 0
    const timer = setInterval(() => {
      number += 1
      response.write(`id: ${number}\n\n`)
    }, 100)
    listeners.add(response)
    response.on("close", () => {
      clearInterval(timer)
      listeners.delete(response)
    })
  }
}

/** @param {import("node:http").IncomingMessage} request */
async function bodyOf(request) {
  let bytes = 0
  for await (const piece of request) bytes += piece.length
  return bytes
}

const server = createServer(async (request, response) => {
  const url = new URL(String(request.url), "http://soak")
  const [, page, id] = url.pathname.split("/")
  response.setHeader("x-release", String(release))
  response.setHeader("x-pid", process.pid)
  try {
    await pages[page](request, response, id, url)
  } catch {
    // A client that left in the middle.
    response.destroy()
  }
})

const live = new WebSocketServer({noServer: true})
server.on("upgrade", (request, socket, head) => {
  live.handleUpgrade(request, socket, head, (client) => live.emit("connection", client, request))
})
live.on("headers", (headers) => headers.push(`x-release: ${release}`, `x-pid: ${process.pid}`))
live.on("connection", (client) => {
  if (stopping) client.close(1001)
  let number = 0
  let heard = 0
  const timer = setInterval(() => {
    number += 1
    client.send(`said ${number}`)
  }, 50)
  client.on("message", (content) => {
    heard += 1
    const text = content.toString()
    if (text !== `asked ${heard}`) complain("a WebSocket message", text, "came where", heard, "was due")
    client.send(`echo ${heard}`)
  })
  client.on("error", () => {})
  client.on("close", () => clearInterval(timer))
})

let line = 0
const chatter = setInterval(() => {
  line += 1
  console.log(`line ${line}`)
}, 100)

process.on("SIGUSR2", () => {
  const hunger = Buffer.alloc(hungryBytes, 1)
  // Held until the process ends.
  process.on("exit", () => hunger.length)
})

process.on("SIGTERM", () => {
  stopping = true
  clearInterval(chatter)
  server.close()
  for (const listener of listeners) listener.end()
  for (const client of live.clients) {
    client.close(1001)
    setTimeout(() => client.terminate(), 2000).unref()
  }
})

server.listen(Number(process.env.ROLLBRIDGE_PORT), "127.0.0.1")
