// The race of keep-alive: the upstream closes idle connections just as requests come. One that says how long it waits,
// as Node does, must never be hit. One that says nothing cannot be: a POST that crosses its end is lost, because nobody
// knows whether it has been executed; but it must not come twice, and a GET is sent again.

import {mkdtempSync, rmSync} from "node:fs"
import {Agent, request} from "node:http"
import {createRequire} from "node:module"
import {tmpdir} from "node:os"
import {join} from "node:path"
import {setTimeout as wait} from "node:timers/promises"
import {nodeApplication, startRollbridge} from "./proxy/contenders.mjs"

const {freePortRange} = createRequire(import.meta.url)("../tests/support/free-ports.js")

/** @param {import("./proxy/figure.mjs").Options} options */
export async function measure({quick}) {
  const each = quick ? 1000 : 10_000
  const announced = await race({each, clients: quick ? 500 : 1000, idleMs: 2000, silent: false})
  const silent = await race({each, clients: 16, idleMs: 10, silent: true})
  const unit = `of ${each}`
  return [
    {what: "keep-alive race: GETs failed", value: announced.GET, unit, goal: 0, how: announced.how},
    {what: "keep-alive race: POSTs failed", value: announced.POST, unit, goal: 0, how: announced.how},
    {what: "keep-alive race: POSTs executed twice", value: announced.doubled, unit, goal: 0, how: announced.how},
    {what: "silent keep-alive race: GETs failed", value: silent.GET, unit, goal: 0, how: silent.how},
    {what: "silent keep-alive race: POSTs failed", value: silent.POST, unit, how: silent.how},
    {what: "silent keep-alive race: POSTs executed twice", value: silent.doubled, unit, goal: 0, how: silent.how}
  ]
}

/**
 * As many GETs as POSTs, each of them about when the upstream closes the connection used before.
 *
 * @param {{each: number, clients: number, idleMs: number, silent: boolean}} plan
 */
async function race({each, clients, idleMs, silent}) {
  const folder = mkdtempSync(join(tmpdir(), "rollbridge-bench-"))
  const command = `${nodeApplication.command("{{port}}", folder)} ${idleMs} ${silent ? "silent" : "announced"}`
  const daemon = await startRollbridge(folder, await freePortRange(4), command)
  const agent = new Agent({keepAlive: true, maxSockets: clients})
  const failed = {GET: 0, POST: 0}
  try {
    let sent = 0
    const ask = async () => {
      await wait(Math.random() * idleMs)
      while (sent < 2 * each) {
        const number = sent
        sent += 1
        const method = number % 2 ? "POST" : "GET"
        const status = await statusOf(agent, daemon.port, method, `/?${number}`)
        if (status !== 200) failed[method] += 1
        await wait(idleMs - 2 + Math.random() * 4)
      }
    }
    await Promise.all(Array.from({length: clients}, ask))
    const doubled = Number(await (await fetch(`http://127.0.0.1:${daemon.port}/ledger`)).text())
    const how = `an upstream that ${silent ? "silently " : ""}closes after ${idleMs} ms, ${clients} clients, each about ` +
      "that long between its requests"
    return {...failed, doubled, how}
  } finally {
    agent.destroy()
    await daemon.end()
    rmSync(folder, {recursive: true, force: true})
  }
}

/**
 * @param {Agent} agent
 * @param {number} port
 * @param {string} method
 * @param {string} path
 * @returns {Promise<number | undefined>}
 */
function statusOf(agent, port, method, path) {
  return new Promise((resolve) => {
    const asking = request({host: "127.0.0.1", port, method, path, agent}, (response) => {
      response.resume().on("end", () => resolve(response.statusCode)).on("error", () => resolve(undefined))
    })
    asking.on("error", () => resolve(undefined))
    asking.end(method === "POST" ? "once" : undefined)
  })
}
