"use strict"

// The usual way to serve: nginx in front, Rollbridge behind it, releases changing underneath. nginx has the configuration
// of docs/nginx.md; what that page says about it is tested here.

const assert = require("node:assert/strict")
const {once} = require("node:events")
const fs = require("node:fs")
const http = require("node:http")
const net = require("node:net")
const path = require("node:path")
const {describe, test} = require("node:test")
const {WebSocket} = require("ws")
const {freePortRange} = require("./support/free-ports.js")
const {startNginx} = require("./support/nginx.js")
const {shownFile} = require("./support/pages.js")
const {requireTool} = require("./support/required-tool.js")
const {temporaryFolder} = require("./support/temporary-folder.js")
const {runningTicketServer} = require("./support/ticket-server.js")
const {waitUntil} = require("./support/wait-until.js")
const {Daemon} = require("..")

const clientCount = 8

/**
 * Sends requests over one kept-alive connection until told to stop.
 *
 * @param {number} port
 * @param {{running: boolean}} state
 */
async function keepAsking(port, state) {
  const agent = new http.Agent({keepAlive: true, maxSockets: 1})
  /** @type {string[]} */
  const failures = []
  let answered = 0
  while (state.running) {
    await new Promise((resolve) => {
      const request = http.get({port, host: "127.0.0.1", path: "/version", agent}, (response) => {
        if (response.statusCode !== 200) failures.push(`status ${response.statusCode}`)
        response.resume().on("end", () => resolve(answered += 1))
      })
      request.on("error", (error) => resolve(failures.push(error.message)))
    })
  }
  agent.destroy()
  return {failures, answered}
}

test("behind nginx, deploys cost no request and no WebSocket", async (t) => {
  if (!requireTool(t, "nginx")) return
  const {deploy, folder, proxyPort} = await runningTicketServer(t)
  await deploy("v1", "first")
  const {port} = await startNginx(t, {parent: folder, proxyPort})

  const socket = new WebSocket(`ws://127.0.0.1:${port}/live`)
  let messages = 0
  socket.on("message", () => {
    messages += 1
  })
  await once(socket, "open")
  const state = {running: true}
  const clients = Array.from({length: clientCount}, () => keepAsking(port, state))

  await deploy("v2", "second")
  const version = /** @type {{releaseId: string}} */ (await (await fetch(`http://127.0.0.1:${port}/version`)).json())
  assert.equal(version.releaseId, "second")
  const seen = messages
  await waitUntil("messages of the old release on the old WebSocket", () => messages > seen + 2)
  await deploy("v1", "third")
  assert.equal(socket.readyState, WebSocket.OPEN)

  state.running = false
  for (const {failures, answered} of await Promise.all(clients)) {
    assert.deepEqual(failures, [])
    assert.ok(answered > 0)
  }
  socket.close()
  await once(socket, "close")
})

/** Says what it was asked, streams both ways, and counts the connections that nginx and Rollbridge open. */
const application = `
const {createServer} = require("node:http")
let more
createServer((request, response) => {
  if (request.url === "/headers") return void response.end(JSON.stringify(request.headers))
  if (request.url === "/more") return void (more?.(), response.end())
  if (request.url === "/die") return void process.kill(process.pid, "SIGKILL")
  if (request.url.startsWith("/slow")) return void setTimeout(() => response.end("slow"), 1500)
  if (request.url.startsWith("/events")) {
    if (request.url.endsWith("unbuffered")) response.setHeader("x-accel-buffering", "no")
    response.writeHead(200, {"content-type": "text/event-stream"})
    response.write("data: 1\\n\\n")
    more = () => response.end("data: 2\\n\\n")
    return
  }
  if (request.url === "/upload") {
    let bytes = 0
    request.on("data", (data) => (bytes += data.length)).on("end", () => response.end(String(bytes)))
    return
  }
  response.end("hello")
}).on("upgrade", (request, socket) => {
  socket.write("HTTP/1.1 101 Switching Protocols\\r\\nConnection: upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n")
  socket.pipe(socket)
}).listen(process.env.PORT, "127.0.0.1")
`

/**
 * The application behind Rollbridge behind nginx.
 *
 * @param {import("node:test").TestContext} t
 * @param {{change?: (config: string) => string, deployed?: boolean}} [options]
 */
async function behindNginx(t, {change, deployed = true} = {}) {
  const folder = temporaryFolder(t, {"release/server.js": application})
  const daemon = new Daemon({
    proxy: {port: 0, healthPath: "/", holdTimeoutMs: 300},
    processes: [
      {
        id: "web",
        policy: "proxied",
        command: `exec '${process.execPath}' server.js`,
        env: {PORT: "{{port}}"},
        port: await freePortRange(10),
        restartDelayMs: 60_000
      }
    ]
  })
  await daemon.start()
  t.after(() => daemon.shutdown())
  if (deployed) await daemon.deploy({releasePath: path.join(folder, "release")})
  const nginx = await startNginx(t, {parent: folder, proxyPort: Number(daemon.proxyPort), change})
  return {...nginx, daemon, folder, url: `http://127.0.0.1:${nginx.port}`}
}

/**
 * The pieces of an answer as they come.
 *
 * @param {string} url
 */
async function reading(url) {
  const {body} = await fetch(url)
  const reader = /** @type {ReadableStream<Uint8Array>} */ (body).getReader()
  return async () => {
    const {value} = await reader.read()
    return value === undefined ? undefined : Buffer.from(value).toString()
  }
}

describe("what docs/nginx.md says", {concurrency: true}, () => {
  test("the application hears who the client is, and nobody can pretend", async (t) => {
    if (!requireTool(t, "nginx")) return
    const {url} = await behindNginx(t)
    const forged = {"x-forwarded-for": "198.51.100.1", "x-forwarded-proto": "https"}
    const answer = await fetch(`${url}/headers`, {headers: forged})
    const headers = /** @type {Record<string, string>} */ (await answer.json())
    assert.equal(headers["x-forwarded-for"], "127.0.0.1, 127.0.0.1")
    assert.equal(headers["x-forwarded-proto"], "http")
    assert.equal(headers["host"], "127.0.0.1")
  })

  test("nginx uses its connections to Rollbridge again", async (t) => {
    if (!requireTool(t, "nginx")) return
    const {url, daemon} = await behindNginx(t)
    for (let count = 0; count < 5; count += 1) assert.equal(await (await fetch(url)).text(), "hello")
    const connections = socketsTo(Number(daemon.proxyPort))
    assert.equal(connections, 1)
  })

  test("any protocol is upgraded", async (t) => {
    if (!requireTool(t, "nginx")) return
    const {port} = await behindNginx(t)
    const socket = net.connect(port, "127.0.0.1")
    t.after(() => socket.destroy())
    socket.write("GET /echo HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
    let said = ""
    socket.on("data", (data) => (said += data))
    await waitUntil("the upgrade", () => said.endsWith("\r\n\r\n"))
    assert.match(said, /^HTTP\/1.1 101 /)
    socket.write("there and back")
    await waitUntil("the echo", () => said.endsWith("there and back"))
  })

  test("so it is with the short form that many guides have", async (t) => {
    if (!requireTool(t, "nginx")) return
    const change = (/** @type {string} */ config) => config.replace("Connection $connection_upgrade", 'Connection "upgrade"')
    const {url} = await behindNginx(t, {change})
    assert.equal(await (await fetch(url)).text(), "hello")
  })

  test("events come one by one when the application asks for it, or nginx is told", async (t) => {
    if (!requireTool(t, "nginx")) return
    const asked = await behindNginx(t)
    const next = await reading(`${asked.url}/events?unbuffered`)
    assert.equal(await next(), "data: 1\n\n")
    await fetch(`${asked.url}/more`)
    assert.equal(await next(), "data: 2\n\n")

    const change = (/** @type {string} */ config) => config.replace("location / {", "location / {\n    proxy_buffering off;")
    const told = await behindNginx(t, {change})
    const following = await reading(`${told.url}/events`)
    assert.equal(await following(), "data: 1\n\n")
    await fetch(`${told.url}/more`)
    assert.equal(await following(), "data: 2\n\n")
  })

  test("uploads go through up to the limit", async (t) => {
    if (!requireTool(t, "nginx")) return
    const {url} = await behindNginx(t, {change: (config) => config.replace("100m", "3m")})
    const upload = (/** @type {number} */ bytes) => fetch(`${url}/upload`, {method: "POST", body: Buffer.alloc(bytes)})
    assert.equal(await (await upload(3_000_000)).text(), "3000000")
    assert.equal((await upload(4_000_000)).status, 413)
  })

  test("a request waits in nginx until its body is complete", async (t) => {
    if (!requireTool(t, "nginx")) return
    const {port, daemon} = await behindNginx(t)
    const request = http.request({port, host: "127.0.0.1", method: "POST", path: "/upload", headers: {"content-length": 10}})
    const answered = once(request, "response")
    request.write("hello")
    await fetch(`http://127.0.0.1:${port}/`)
    // This one has its answer, and may still count for a moment.
    await waitUntil("no connection", async () => (await daemon.connections()).length === 0)
    request.end("world")
    const [response] = await answered
    assert.equal(response.statusCode, 200)
    response.resume()
  })

  test("an answer that takes longer than proxy_read_timeout is nginx's 504", async (t) => {
    if (!requireTool(t, "nginx")) return
    const change = (/** @type {string} */ config) => config.replace("proxy_read_timeout 1h", "proxy_read_timeout 200ms")
    const {url} = await behindNginx(t, {change})
    const answer = await fetch(`${url}/slow`)
    assert.equal(answer.status, 504)
    assert.match(await answer.text(), /504 Gateway Time-out/)
  })

  test("without a release it is Rollbridge's 503, and without a daemon nginx's 502", async (t) => {
    if (!requireTool(t, "nginx")) return
    const {url, daemon, errors} = await behindNginx(t, {deployed: false})
    const answer = await fetch(url)
    assert.deepEqual([answer.status, await answer.text()], [503, "no release is active\n"])
    await daemon.shutdown()
    const refused = await fetch(url)
    assert.equal(refused.status, 502)
    assert.match(await refused.text(), /502 Bad Gateway/)
    assert.match(errors(), /connect\(\) failed \(111: Connection refused\)/)
  })

  test("a web process that is gone is Rollbridge's 502, with the reason", async (t) => {
    if (!requireTool(t, "nginx")) return
    const {url} = await behindNginx(t)
    const killer = await fetch(`${url}/die`, {method: "POST"})
    assert.deepEqual([killer.status, await killer.text()], [502, "the application did not answer\n"])
    const later = await fetch(url)
    assert.deepEqual([later.status, await later.text()], [502, "the application does not accept connections\n"])
  })

  test("a maintenance page replaces both", async (t) => {
    if (!requireTool(t, "nginx")) return
    const web = temporaryFolder(t, {"maintenance.html": "back soon"})
    fs.chmodSync(web, 0o755)
    const shown = shownFile("docs/nginx.md", "maintenance.conf").replace("/var/www/ticket-server", web)
    const change = (/** @type {string} */ config) => config.replace("  location / {", `${shown}\n  location / {`)
    const {url, daemon} = await behindNginx(t, {change, deployed: false})
    const without = await fetch(url)
    assert.deepEqual([without.status, await without.text()], [503, "back soon"])
    await daemon.shutdown()
    const gone = await fetch(url)
    assert.deepEqual([gone.status, await gone.text()], [502, "back soon"])
  })
})

/**
 * How many connections to this port are open, by what the kernel says.
 *
 * @param {number} port
 */
function socketsTo(port) {
  const lines = fs.readFileSync("/proc/net/tcp", "utf8").split("\n").slice(1)
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, "0")}`
  return lines.filter((line) => {
    const [, , remote, state] = line.trim().split(/\s+/)
    return remote?.endsWith(wanted) && state === "01"
  }).length
}
