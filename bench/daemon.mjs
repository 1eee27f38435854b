// The daemon by itself: its memory with one idle application, how soon it notices readiness, how long `status` takes.

import {execFileSync, spawnSync} from "node:child_process"
import {mkdtempSync, readFileSync, rmSync} from "node:fs"
import {createRequire} from "node:module"
import {tmpdir} from "node:os"
import {join} from "node:path"
import {setTimeout as wait} from "node:timers/promises"
import {startRollbridge} from "./proxy/contenders.mjs"
import {median} from "./proxy/median.mjs"
import {memoryBytes} from "./proxy/process.mjs"

const require = createRequire(import.meta.url)
const {freePortRange} = require("../tests/support/free-ports.js")
const {findBinary} = require("../lib/native.js")

/** Notes the moment it listens. */
const application = `require("http").createServer((q, r) => r.end()).listen(process.argv[1], "127.0.0.1", () => {
  require("fs").writeFileSync(process.argv[2], String(performance.timeOrigin + performance.now()))
})`

/** @param {import("./proxy/figure.mjs").Options} options */
export async function measure({quick}) {
  const times = quick ? 5 : 20
  const folder = mkdtempSync(join(tmpdir(), "rollbridge-bench-"))
  const noted = join(folder, "listening")
  const command = `exec ${process.execPath} -e '${application}' {{port}} ${noted}`
  const daemon = await startRollbridge(folder, await freePortRange(8), command)
  try {
    await wait(2000)
    const resident = memoryBytes(daemon.pid) / 1024 / 1024
    const noticed = []
    for (let index = 0; index < times; index += 1) {
      await daemon.deploy(`release-${index}`)
      noticed.push(readyAt(daemon.config) - Number(readFileSync(noted, "utf8")))
    }
    const asked = Array.from({length: times * 2}, () => {
      const before = performance.now()
      const {status} = spawnSync(findBinary(), ["status", "--config", daemon.config])
      if (status !== 0) throw new Error(`status has ended with ${status}`)
      return performance.now() - before
    })
    return [
      {
        what: "resident memory of the idle daemon, keeper and engine", value: resident, unit: "MB", goal: 10,
        how: "VmRSS of both, pages they share counted twice"
      },
      {
        what: "readiness noticed after the application listens, median", value: median(noticed), unit: "ms", goal: 20,
        how: `from the callback of listen to the event "release healthy", ${times} deploys`
      },
      {
        what: "status from the binary with a JSON config, median", value: median(asked), unit: "ms", goal: 10,
        how: `from spawn to exit, ${times * 2} times`
      }
    ]
  } finally {
    await daemon.end()
    rmSync(folder, {recursive: true, force: true})
  }
}

/** When the last release became ready, in milliseconds. @param {string} config */
function readyAt(config) {
  const text = execFileSync(findBinary(), ["events", "--json", "--config", config], {encoding: "utf8"})
  const ready = JSON.parse(text).filter((/** @type {{message: string}} */ {message}) => message === "release healthy")
  return Date.parse(ready[ready.length - 1].at)
}
