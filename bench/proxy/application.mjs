// An application that does what is measured: upgrades that echo, large bodies both ways, and a ledger of POSTs.
// Usage: node application.mjs <port> [milliseconds until idle connections are closed] [silent]

import {createHash} from "node:crypto"
import {createServer} from "node:http"
import {Readable} from "node:stream"
import {finished, pipeline} from "node:stream/promises"
import {pieces} from "./bodies.mjs"

const [port, idleMs] = process.argv.slice(2, 4).map(Number)
const isSilent = process.argv[4] === "silent"
/** How often each POST has come. @type {Map<string, number>} */
const ledger = new Map()

const server = createServer(async (request, response) => {
  const url = new URL(request.url ?? "/", "http://application")
  if (url.pathname === "/download") {
    const bytes = Number(url.searchParams.get("bytes"))
    response.writeHead(200, {"content-length": bytes})
    await pipeline(Readable.from(pieces(bytes)), response).catch(() => {})
  } else if (url.pathname === "/upload") {
    const hash = createHash("sha256")
    for await (const piece of request) hash.update(piece)
    response.end(hash.digest("hex"))
  } else if (url.pathname === "/ledger") {
    response.end(String([...ledger.values()].filter((times) => times > 1).length))
  } else if (request.method === "POST") {
    await finished(request.resume())
    ledger.set(url.search, (ledger.get(url.search) ?? 0) + 1)
    response.end("hello from the application")
  } else {
    response.end("hello from the application")
  }
})

server.on("upgrade", (request, socket) => {
  const accept = createHash("sha1")
    .update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest("base64")
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
  )
  socket.on("error", () => {})
  socket.pipe(socket)
})

if (isSilent) {
  // Node announces its own time, which would warn the proxy.
  server.keepAliveTimeout = 0
  server.on("connection", (socket) => socket.setTimeout(idleMs, () => socket.end()))
} else {
  server.keepAliveTimeout = idleMs || 3_600_000
}
server.listen({port, host: "127.0.0.1", backlog: 4096})
