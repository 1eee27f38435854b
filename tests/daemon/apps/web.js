// The web process of the tests. It answers with the id of its release, and does what the path or its environment says.
"use strict"

const fs = require("node:fs")
const http = require("node:http")

const release = process.env.ROLLBRIDGE_RELEASE_ID
const pingStatus = Number(process.env.PING_STATUS ?? 200)
// While this file exists the app is not healthy.
const unhealthyFile = process.env.UNHEALTHY_FILE

const server = http.createServer((request, response) => {
  const url = new URL(request.url, "http://app")
  switch (url.pathname) {
    case "/ping":
      response.statusCode = unhealthyFile && fs.existsSync(unhealthyFile) ? 500 : pingStatus
      response.end("pong\n")
      break
    // Begins to answer, and ends once the named file exists.
    case "/until": {
      response.write("begun ")
      const look = setInterval(() => {
        if (!fs.existsSync(url.searchParams.get("file"))) return
        clearInterval(look)
        response.end(release)
      }, 5)
      response.on("close", () => clearInterval(look))
      break
    }
    case "/pid":
      response.end(String(process.pid))
      break
    case "/forwarded-for":
      response.end(request.headers["x-forwarded-for"])
      break
    default:
      response.end(release)
  }
})

// After the upgrade every byte comes back.
server.on("upgrade", (_request, socket) => {
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\nx-release: ${release}\r\n\r\n`)
  socket.on("error", () => socket.destroy())
  socket.pipe(socket)
})

// Between two requests a client may rest for longer than the five seconds Node allows by default.
server.keepAliveTimeout = 60_000
server.listen(Number(process.env.ROLLBRIDGE_PORT), "127.0.0.1")
