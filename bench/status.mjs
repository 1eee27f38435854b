// How long a person, or a deploy script in a loop, waits for `rollbridge status`.

import {spawnSync} from "node:child_process"
import {mkdtempSync, rmSync, writeFileSync} from "node:fs"
import {createRequire} from "node:module"
import {tmpdir} from "node:os"
import {join} from "node:path"

const require = createRequire(import.meta.url)
const rollbridge = require("../index.js")
const {freePortRange} = require("../tests/support/free-ports.js")
const {RunningDaemon} = require("../tests/support/running-daemon.js")
const {findBinary} = require("../lib/native.js")

const times = 50
const launcher = new URL("../bin/rollbridge.js", import.meta.url).pathname

export async function measure() {
  const folder = mkdtempSync(join(tmpdir(), "rollbridge-bench-"))
  const json = join(folder, "rollbridge.json")
  const module = join(folder, "rollbridge.mjs")
  const config = JSON.stringify(await configFor(join(folder, "control.sock")))
  writeFileSync(json, config)
  writeFileSync(module, `export default ${config}\n`)
  const daemon = new RunningDaemon({configPath: json, logPath: join(folder, "daemon.log")})
  try {
    await daemon.ready()
    await rollbridge.deploy({config: json, releasePath: folder, releaseId: "bench"})
    return [
      {
        what: "status, binary and a JSON config, median",
        value: median(() => run(findBinary(), ["status", "--config", json])),
        unit: "ms",
        goal: 10,
        how: `from start to end of the command, ${times} times`
      },
      {
        what: "status through Node and a config module, median",
        value: median(() => run(process.execPath, [launcher, "status", "--config", module])),
        unit: "ms",
        goal: 120,
        how: `from start to end of node bin/rollbridge.js, ${times} times`
      }
    ]
  } finally {
    await daemon.end()
    rmSync(folder, {recursive: true, force: true})
  }
}

/** @param {string} controlPath */
async function configFor(controlPath) {
  return {
    application: "bench",
    control: {path: controlPath},
    proxy: {port: 0},
    processes: [
      {id: "web", policy: "proxied", command: "exec sleep 100000", health: false, port: await freePortRange(10)},
      {id: "worker", command: "exec sleep 100000", replicas: 4}
    ]
  }
}

/**
 * @param {string} program
 * @param {string[]} args
 */
function run(program, args) {
  // With certificates to read, each start of Node takes three times as long, which says nothing about us.
  const env = {...process.env}
  delete env.NODE_EXTRA_CA_CERTS
  const {status, stderr} = spawnSync(program, args, {stdio: ["ignore", "pipe", "pipe"], encoding: "utf8", env})
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${status}: ${stderr}`)
}

/** @param {() => void} measured */
function median(measured) {
  measured()
  const taken = Array.from({length: times}, () => {
    const began = performance.now()
    measured()
    return performance.now() - began
  })
  return taken.sort((one, other) => one - other)[times / 2]
}
