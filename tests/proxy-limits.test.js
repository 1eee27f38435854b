"use strict"

// Peers that take too much, or give too little, and a system that has run out: each is bounded, and each is recovered
// from.

const assert = require("node:assert/strict")
const fs = require("node:fs")
const http = require("node:http")
const net = require("node:net")
const path = require("node:path")
const {test} = require("node:test")
const {setTimeout: wait} = require("node:timers/promises")
const {findBinary} = require("../lib/native.js")
const rollbridge = require("../index.js")
const {freePortRange} = require("./support/free-ports.js")
const {RunningDaemon} = require("./support/running-daemon.js")
const {temporaryFolder} = require("./support/temporary-folder.js")
const {waitUntil} = require("./support/wait-until.js")

const application = `
const {createServer} = require("node:http")
const block = Buffer.alloc(64 * 1024)
createServer((request, response) => {
  if (request.url === "/never") return
  if (request.url === "/endless") {
    const more = () => { while (response.write(block)); }
    response.on("drain", more)
    return more()
  }
  request.resume().on("end", () => response.end("ok"))
}).listen(process.env.PORT, "127.0.0.1")
`
/** Resident memory that so many quiet peers may cost: a buffer on each side, and the allocator's share. */
const perPeerBytes = 300 * 1024

/** @param {import("node:test").TestContext} t */
async function runningDaemon(t) {
  const folder = temporaryFolder(t, {"release/server.js": application})
  const config = path.join(folder, "rollbridge.json")
  fs.writeFileSync(config, JSON.stringify({
    application: "limits",
    control: {path: "control.sock"},
    proxy: {port: 0, healthPath: "/", maxConnections: 100_000, drainTimeoutMs: 300},
    processes: [
      {
        id: "web",
        policy: "proxied",
        command: `exec '${process.execPath}' server.js`,
        env: {PORT: "{{port}}"},
        port: await freePortRange(10)
      }
    ]
  }))
  const daemon = new RunningDaemon({configPath: config, logPath: path.join(folder, "daemon.log")})
  t.after(() => daemon.end())
  await daemon.ready()
  await rollbridge.deploy({config, releasePath: path.join(folder, "release"), releaseId: "one"})
  const {proxy} = await daemon.status()
  return {config, daemon, folder, port: proxy.port}
}

test("a lack of open files is waited out, told once, and costs no CPU", async (t) => {
  const script = path.join(temporaryFolder(t), "rollbridge")
  fs.writeFileSync(script, `#!/bin/sh\nulimit -n 100\nexec '${findBinary()}' "$@"\n`, {mode: 0o755})
  const usual = process.env.ROLLBRIDGE_BINARY
  process.env.ROLLBRIDGE_BINARY = script
  t.after(() => {
    if (usual === undefined) delete process.env.ROLLBRIDGE_BINARY
    else process.env.ROLLBRIDGE_BINARY = usual
  })
  const {daemon, port} = await runningDaemon(t)
  const paused = () => daemon.log().split("\n").filter((line) => line.includes('"proxy accepting paused"')).length
  const clients = Array.from({length: 200}, () => net.connect(port, "127.0.0.1"))
  t.after(() => clients.forEach((client) => client.destroy()))
  for (const client of clients) client.on("error", () => {})
  await waitUntil("the daemon runs out of open files", () => paused() > 0)
  const spentBefore = cpuSeconds(daemon.pid)
  await wait(1500)
  const spent = cpuSeconds(daemon.pid) - spentBefore
  assert.ok(spent < 0.5, `it spins: ${spent} s of CPU in 1.5 s`)
  assert.equal(paused(), 1, "told once")

  for (const client of clients) client.destroy()
  await waitUntil("requests are answered again", async () => (await get(port, "/")) === "ok")
  await waitUntil("the end of the trouble is told", async () => {
    await get(port, "/")
    return daemon.log().includes('"proxy accepting resumed"')
  })
  assert.equal(paused(), 1, "told once")
  assert.equal((await daemon.status()).activeReleaseId, "one")
})

test("peers that do not read, hardly write or never answer", async (t) => {
  const {config, daemon, folder, port} = await runningDaemon(t)
  const open = async () => (await daemon.status()).releases.find(({state}) => state === "active")?.connectionCount
  await get(port, "/")
  const engine = children(daemon.pid)[0]
  const count = 40

  /**
   * @param {string} start what each of them sends at once
   * @param {(client: net.Socket) => void} [go]
   */
  const peers = async (start, go = () => {}) => {
    const before = residentBytes(engine)
    const clients = Array.from({length: count}, () => net.connect(port, "127.0.0.1"))
    t.after(() => clients.forEach((client) => client.destroy()))
    for (const client of clients) {
      client.on("error", () => {})
      client.pause()
      client.write(start)
      go(client)
    }
    await waitUntil("all are counted", async () => (await open()) === count)
    // They have time to fill whatever can be filled.
    await wait(500)
    const grown = residentBytes(engine) - before
    assert.ok(grown < count * perPeerBytes, `${start}: memory has grown by ${grown} bytes`)
    assert.equal(await get(port, "/"), "ok", "others are served")
    return clients
  }
  /** @param {net.Socket[]} clients */
  const leave = async (clients) => {
    for (const client of clients) client.destroy()
    await waitUntil("they are counted down", async () => (await open()) === 0)
  }

  await t.test("clients that do not read", async () => {
    await leave(await peers("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n"))
  })
  await t.test("clients that send a byte now and then", async () => {
    await leave(
      await peers("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", (client) => {
        const pace = setInterval(() => client.write("x"), 100)
        client.on("close", () => clearInterval(pace))
      })
    )
  })
  await t.test("an application that never answers, until its clients leave", async () => {
    await leave(await peers("GET /never HTTP/1.1\r\nHost: a\r\n\r\n"))
  })
  await t.test("an application that never answers, until its release is over", async () => {
    const clients = await peers("GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
    const answers = clients.map((client) => firstBytes(client))
    await rollbridge.deploy({config, releasePath: path.join(folder, "release"), releaseId: "two"})
    for (const answer of await Promise.all(answers)) assert.match(answer, /^HTTP\/1\.1 502 /)
    await waitUntil("the old release is over", async () => {
      return (await daemon.status()).releases.some(({releaseId, state}) => releaseId === "one" && state === "stopped")
    })
    await leave(clients)
    assert.equal(await get(port, "/"), "ok")
  })
})

/**
 * The body of an answer, or what went wrong instead.
 *
 * @param {number} port
 * @param {string} path
 * @returns {Promise<string>}
 */
function get(port, path) {
  return new Promise((resolve) => {
    const request = http.get({agent: false, host: "127.0.0.1", port, path}, (response) => {
      let body = ""
      response.on("data", (data) => (body += data)).on("end", () => resolve(body))
    })
    request.on("error", (error) => resolve(error.message))
  })
}

/** @param {net.Socket} client */
function firstBytes(client) {
  return new Promise((resolve) => {
    client.once("data", (data) => resolve(data.toString()))
    client.once("close", () => resolve("closed"))
    client.resume()
  })
}

/** @param {number | undefined} pid */
function children(pid) {
  return fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").map(Number)
}

/** @param {number} pid */
function residentBytes(pid) {
  return Number(/VmRSS:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024
}

/**
 * What the daemon and its engine have spent.
 *
 * @param {number | undefined} pid
 */
function cpuSeconds(pid) {
  const ticks = [pid, children(pid)[0]].map((each) => {
    const fields = fs.readFileSync(`/proc/${each}/stat`, "utf8").split(") ")[1].split(" ")
    return Number(fields[11]) + Number(fields[12])
  })
  return (ticks[0] + ticks[1]) / 100
}
