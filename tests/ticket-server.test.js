"use strict"

const assert = require("node:assert/strict")
const {test} = require("node:test")
const {WebSocket} = require("ws")
const rollbridge = require("..")
const {config, runningTicketServer} = require("./support/ticket-server.js")
const {waitUntil} = require("./support/wait-until.js")

test("the example's config is valid and uses all four policies", async () => {
  const {valid, warnings} = await rollbridge.validateConfig({config})
  assert.equal(valid, true)
  assert.deepEqual(warnings, [])
  const {processes} = await rollbridge.loadConfig({config})
  const policies = processes.map(({policy}) => policy).sort()
  assert.deepEqual(policies, ["companion", "proxied", "service", "singleton"])
})

test("tickets outlive a deploy, and the releases differ", async (t) => {
  const {daemon, deploy, proxyPort} = await runningTicketServer(t)
  const origin = `http://127.0.0.1:${proxyPort}`
  /** @type {(address: string) => Promise<any>} */
  const json = async (address) => (await fetch(origin + address)).json()
  /** @param {object} ticket */
  const report = (ticket) => fetch(`${origin}/tickets`, {
    method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(ticket)
  })
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
