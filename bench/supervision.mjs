// What supervising a hundred processes costs at rest, and how soon a crashed one is replaced.

import {mkdtempSync, rmSync, writeFileSync} from "node:fs"
import {createRequire} from "node:module"
import {tmpdir} from "node:os"
import {join} from "node:path"
import {setTimeout as wait} from "node:timers/promises"
import {median} from "./proxy/median.mjs"
import {cpuMicroseconds, memoryBytes} from "./proxy/process.mjs"

const require = createRequire(import.meta.url)
const rollbridge = require("../index.js")
const {freePortRange} = require("../tests/support/free-ports.js")
const {RunningDaemon} = require("../tests/support/running-daemon.js")
const {waitUntil} = require("../tests/support/wait-until.js")

const processCount = 100
const restMs = 20_000
const crashes = 50

export async function measure() {
  const folder = mkdtempSync(join(tmpdir(), "rollbridge-bench-"))
  const config = join(folder, "rollbridge.json")
  writeFileSync(config, JSON.stringify(await configFor(join(folder, "control.sock"))))
  const daemon = new RunningDaemon({configPath: config, logPath: join(folder, "daemon.log")})
  try {
    await daemon.ready()
    await rollbridge.deploy({config, releasePath: folder, releaseId: "bench"})
    await wait(2000)
    const pid = /** @type {number} */ (daemon.pid)
    const resident = memoryBytes(pid)
    const before = cpuMicroseconds(pid)
    await wait(restMs)
    const share = (cpuMicroseconds(pid) - before) / (restMs * 1e3)
    const replaced = await replacementTimes(daemon)
    return [
      {
        what: `resident memory of the daemon with ${processCount} processes`,
        value: resident / 1024 / 1024,
        unit: "MB",
        goal: 25,
        how: "VmRSS of keeper and engine after the deploy, each process with a memory limit"
      },
      {
        what: `CPU of the daemon with ${processCount} processes at rest`,
        value: share * 100,
        unit: "% of one core",
        goal: 1,
        how: `time on CPU of all threads over ${restMs / 1000} s, memory sampled every 5 s`
      },
      {
        what: "crash to replacement spawned, median",
        value: median(replaced),
        unit: "ms",
        goal: 5,
        how: `from SIGKILL to the event "process started", ${crashes} times, restartDelayMs 0`
      }
    ]
  } finally {
    await daemon.end()
    rmSync(folder, {recursive: true, force: true})
  }
}

/** @param {string} controlPath */
async function configFor(controlPath) {
  const memory = {limitBytes: 1024 ** 3}
  return {
    application: "bench",
    control: {path: controlPath},
    proxy: {port: 0},
    processes: [
      {id: "idle", command: "exec sleep 100000", replicas: processCount - 2, memory},
      {id: "crasher", command: "exec sleep 100000", restartDelayMs: 0, memory},
      {id: "web", policy: "proxied", command: "exec sleep 100000", port: await freePortRange(4), health: false, memory}
    ]
  }
}

/**
 * Milliseconds from each kill to the replacement's start, as the daemon's log tells it.
 *
 * @param {InstanceType<typeof RunningDaemon>} daemon
 */
async function replacementTimes(daemon) {
  const times = []
  for (let crash = 0; crash < crashes; crash += 1) {
    const starts = crasherStarts(daemon)
    const killedAtMs = performance.timeOrigin + performance.now()
    process.kill(starts[starts.length - 1].pid, "SIGKILL")
    await waitUntil("the replacement", () => crasherStarts(daemon).length > starts.length)
    times.push(crasherStarts(daemon)[starts.length].atMs - killedAtMs)
  }
  return times
}

/** @param {InstanceType<typeof RunningDaemon>} daemon */
function crasherStarts(daemon) {
  const events = daemon.log().split("\n").filter((line) => line.startsWith("{") && line.endsWith("}"))
  const starts = events.map((line) => JSON.parse(line)).filter(({message}) => message === "process started")
  const own = starts.filter(({data}) => data.processId === "crasher")
  return own.map(({at, data}) => ({atMs: Date.parse(at), pid: data.pid}))
}
