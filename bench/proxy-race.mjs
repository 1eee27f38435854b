// The race of keep-alive: an upstream closes idle connections without a word of warning, just as requests come.

import {mkdtempSync, rmSync} from "node:fs"
import {Agent, request} from "node:http"
import {createRequire} from "node:module"
import {tmpdir} from "node:os"
import {join} from "node:path"
import {setTimeout as wait} from "node:timers/promises"
import {nodeApplication, startRollbridge} from "./proxy/contenders.mjs"

const {freePortRange} = createRequire(import.meta.url)("../tests/support/free-ports.js")

/** The upstream's patience; requests come about that long after each other. */
const idleMs = 10
const clients = 16

/** @param {import("./proxy/figure.mjs").Options} options */
export async function measure({quick}) {
  const each = quick ? 1000 : 10_000
  const folder = mkdtempSync(join(tmpdir(), "rollbridge-bench-"))
  const command = `${nodeApplication.command("{{port}}", folder)} ${idleMs}`
  const daemon = await startRollbridge(folder, await freePortRange(4), command)
  const agent = new Agent({keepAlive: true, maxSockets: clients})
  const failed = {GET: 0, POST: 0}
  try {
    let sent = 0
    const ask = async () => {
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
    const how = `an upstream that closes after ${idleMs} ms, ${clients} clients, each about that long between its requests`
    return [
      {what: "keep-alive race: GETs failed", value: failed.GET, unit: `of ${each}`, goal: 0, how},
      {what: "keep-alive race: POSTs failed", value: failed.POST, unit: `of ${each}`, goal: 0, how},
      {what: "keep-alive race: POSTs executed twice", value: doubled, unit: `of ${each}`, goal: 0, how}
    ]
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
