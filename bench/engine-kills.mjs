// The engine of the daemon is killed again and again under load: how long nobody is served, what is lost, and what the
// keeper holds afterwards.

import {Agent, request} from "node:http"
import {mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync} from "node:fs"
import {tmpdir} from "node:os"
import {createRequire} from "node:module"
import {join} from "node:path"
import {setTimeout as wait} from "node:timers/promises"
import {startRollbridge} from "./proxy/contenders.mjs"
import {median} from "./proxy/median.mjs"

const require = createRequire(import.meta.url)
const {freePortRange} = require("../tests/support/free-ports.js")
const {waitUntil} = require("../tests/support/wait-until.js")

const clients = 16
/** When the keeper has come to rest again. */
const restMs = 5000
const application = "require(\"http\").createServer((q, r) => r.end(\"ok\")).listen(process.argv[1], \"127.0.0.1\")"

/** @param {import("./proxy/figure.mjs").Options} options */
export async function measure({quick}) {
  const kills = quick ? 5 : 20
  const folder = mkdtempSync(join(tmpdir(), "rollbridge-bench-"))
  const command = `exec ${process.execPath} -e '${application}' {{port}}`
  const daemon = await startRollbridge(folder, await freePortRange(8), command)
  const load = {over: false, refused: 0, broken: 0, answers: /** @type {number[]} */ ([])}
  try {
    const running = Array.from({length: clients}, () => client(daemon.port, load))
    const pauses = []
    for (let kill = 0; kill < kills; kill += 1) {
      await wait(500)
      const engine = engineOf(daemon.pid)
      const killedAt = performance.now()
      process.kill(engine, "SIGKILL")
      await waitUntil("another engine serves", () => {
        const after = load.answers.filter((at) => at > killedAt)
        return engineOf(daemon.pid) !== engine && after.length > clients * 4
      })
      // The first answers may have been on their way already: what counts is the longest silence.
      const times = [killedAt, ...load.answers.filter((at) => at > killedAt)]
      pauses.push(Math.max(...times.slice(1).map((at, index) => at - times[index])))
    }
    load.over = true
    await Promise.all(running)
    const busy = residentMb(daemon.pid)
    await wait(restMs)
    const resting = residentMb(daemon.pid)
    return [
      {
        what: "time without service when the engine is killed, median", value: median(pauses), unit: "ms", goal: 150,
        how: `the longest silence after each of ${kills} kills, ${clients} keep-alive clients that reconnect`
      },
      {
        what: "connections refused while engines were killed", value: load.refused, unit: "connections", goal: 0,
        how: `of ${load.answers.length} answers; ${load.broken} requests were in flight and lost`
      },
      {
        what: "requests lost per kill and client", value: load.broken / kills / clients, unit: "requests", goal: 1,
        how: "a client has one request in flight at most"
      },
      {
        what: "resident memory of the keeper", value: resting, unit: "MB", goal: 4,
        how: `VmRSS ${restMs} ms after the kills, code that it shares with the engine included`
      },
      {
        what: "resident memory of the keeper at work", value: busy, unit: "MB",
        how: "the same right after the last kill; what it has more is code, which the system takes back at will"
      }
    ]
  } finally {
    load.over = true
    await daemon.end()
    rmSync(folder, {recursive: true, force: true})
  }
}

/**
 * One request after the other on a connection that is kept; on another one where that breaks.
 *
 * @param {number} port
 * @param {{over: boolean, refused: number, broken: number, answers: number[]}} load
 */
async function client(port, load) {
  const agent = new Agent({keepAlive: true, maxSockets: 1})
  while (!load.over) {
    try {
      await get(port, agent)
      load.answers.push(performance.now())
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code === "ECONNREFUSED") load.refused += 1
      else load.broken += 1
    }
    await wait(2)
  }
  agent.destroy()
}

/**
 * @param {number} port
 * @param {Agent} agent
 */
function get(port, agent) {
  return new Promise((resolve, reject) => {
    const asked = request({port, host: "127.0.0.1", agent}, (response) => {
      response.resume()
      response.once("end", resolve)
      response.once("error", reject)
    })
    asked.once("error", reject)
    asked.end()
  })
}

/**
 * The engine: the child of the keeper that runs the same program; 0 while there is none.
 *
 * @param {number} keeper
 */
function engineOf(keeper) {
  const program = readlinkSync(`/proc/${keeper}/exe`)
  const tasks = readdirSync(`/proc/${keeper}/task`)
  const children = tasks.flatMap((task) => readFileSync(`/proc/${keeper}/task/${task}/children`, "utf8").trim().split(" "))
  const isEngine = (/** @type {string} */ pid) => {
    try {
      return readlinkSync(`/proc/${pid}/exe`) === program
    } catch {
      return false
    }
  }
  return Number(children.find(isEngine) ?? 0)
}

/** @param {number} pid */
function residentMb(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024
}
