"use strict"

const assert = require("node:assert/strict")
const path = require("node:path")
const {test} = require("node:test")
const {WebSocket} = require("ws")
const rollbridge = require("..")
const {freePortRange, freePorts} = require("./support/free-ports.js")
const {RunningDaemon} = require("./support/running-daemon.js")
const {temporaryFolder} = require("./support/temporary-folder.js")
const {waitUntil} = require("./support/wait-until.js")

const example = path.join(__dirname, "..", "examples", "ticket-server")
const config = path.join(example, "rollbridge.js")

test("the example's config is valid and uses all four policies", async () => {
  const {valid, warnings} = await rollbridge.validateConfig({config})
  assert.equal(valid, true)
  assert.deepEqual(warnings, [])
  const {processes} = await rollbridge.loadConfig({config})
  const policies = processes.map(({policy}) => policy).sort()
  assert.deepEqual(policies, ["companion", "proxied", "service", "singleton"])
})

test("tickets outlive a deploy, and the releases differ", async (t) => {
  const folder = temporaryFolder(t)
  const [proxyPort, brokerPort] = await freePorts(2)
  const {from, to} = await freePortRange(10)
  Object.assign(process.env, {
    TICKET_SERVER_CONTROL_PATH: path.join(folder, "control.sock"),
    TICKET_SERVER_PROXY_PORT: String(proxyPort),
    TICKET_SERVER_BROKER_PORT: String(brokerPort),
    TICKET_SERVER_WEB_PORTS: `${from}-${to}`
  })
  const daemon = new RunningDaemon({configPath: config, logPath: path.join(folder, "daemon.log")})
  t.after(() => daemon.end())
  await daemon.ready()

  const origin = `http://127.0.0.1:${proxyPort}`
  /** @type {(address: string) => Promise<any>} */
  const json = async (address) => (await fetch(origin + address)).json()
  /** @param {object} ticket */
  const report = (ticket) => fetch(`${origin}/tickets`, {
    method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(ticket)
  })
  /** @param {string} version */
  const deploy = (version) =>
    rollbridge.deploy({config, releasePath: path.join(example, "releases", version), releaseId: version})

  await deploy("v1")
  assert.equal((await json("/version")).releaseId, "v1")
  assert.equal((await report({title: "The door is stuck", priority: "urgent"})).status, 201)
  assert.equal((await report({})).status, 400)
  await waitUntil("the worker", async () => (await json("/tickets"))[0].handledBy !== null)

  await deploy("v2")
  const page = await (await fetch(origin)).text()
  assert.match(page, /Ticket desk with priorities/)
  assert.match(page, /The door is stuck \(normal\)/)
  await report({title: "The window is open", priority: "urgent"})
  await waitUntil("the new ticket first", async () => (await json("/tickets"))[0]?.title === "The window is open")

  const socket = new WebSocket(`ws://127.0.0.1:${proxyPort}/live`)
  t.after(() => socket.terminate())
  /** @type {any[]} */
  const messages = []
  socket.on("message", (text) => messages.push(JSON.parse(text.toString())))
  socket.on("open", () => socket.send("hello"))
  await waitUntil("numbered messages and the echo", () => {
    return messages.some(({number}) => number === 2) && messages.some(({echo}) => echo === "hello")
  })
  assert.equal(messages[0].version, "2")

  await daemon.status()
  await rollbridge.shutdown({config})
  await daemon.exited()
  assert.deepEqual(daemon.leftovers(), [])
})
