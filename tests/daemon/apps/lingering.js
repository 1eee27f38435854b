// A web process that stops as most do: it accepts nothing any more, and serves the connections it has until they end. Given
// an argument, it hears of its stop so many milliseconds late.
"use strict"

const http = require("node:http")

const grown = []

const server = http.createServer((request, response) => {
  if (request.url === "/grow") grown.push(Buffer.alloc(200 * 1024 * 1024, 1))
  response.end(String(process.pid))
})
// It never closes a connection on its own account.
server.keepAliveTimeout = 0
server.closeIdleConnections = () => {}
process.on("SIGTERM", () => setTimeout(() => server.close(), Number(process.argv[2] ?? 0)))
server.listen(Number(process.env.ROLLBRIDGE_PORT), "127.0.0.1")
