// What clients notice of switches and deploys, at a fixed rate of requests.

import {mkdtempSync, rmSync} from "node:fs"
import {createRequire} from "node:module"
import {tmpdir} from "node:os"
import {join} from "node:path"
import {setTimeout as wait} from "node:timers/promises"
import {answers, smallAnswer, startRollbridge} from "./proxy/contenders.mjs"
import {fixedRate} from "./proxy/load.mjs"
import {median} from "./proxy/median.mjs"
import {lastCpu, start} from "./proxy/process.mjs"

const require = createRequire(import.meta.url)
const {freePort, freePortRange} = require("../tests/support/free-ports.js")
const {waitUntil} = require("../tests/support/wait-until.js")

const switchEveryMs = 250
const load = {perSecond: 1000, connections: 32}

/** @param {import("./proxy/figure.mjs").Options} options */
export async function measure({quick, engine}) {
  const switches = await throughSwitches(engine, {rounds: quick ? 3 : 10, seconds: quick ? 1 : 2.5})
  const deploys = await throughDeploys({rounds: quick ? 2 : 5, deploysEach: 4})
  return [...switches, ...deploys]
}

/**
 * Between two upstreams, of the engine alone: so often no process could be started and stopped beside the load.
 *
 * @param {string} engine
 * @param {{rounds: number, seconds: number}} plan
 */
async function throughSwitches(engine, {rounds, seconds}) {
  const folders = [0, 1].map(() => mkdtempSync(join(tmpdir(), "rollbridge-bench-")))
  /** @type {number[]} */
  const ports = []
  const started = []
  try {
    for (const folder of folders) {
      const port = await freePort()
      started.push(start("sh", ["-c", smallAnswer.command(port, folder)]))
      ports.push(port)
    }
    const port = await freePort()
    const alone = start(engine, [String(port), String(ports[0])], {cpu: lastCpu})
    started.push(alone)
    for (const each of [...ports, port]) await waitUntil("what is measured", () => answers(each))
    let switched = 0
    const {ratio, failed, rest, moving} = await compare(port, rounds, seconds, () => {
      const timer = setInterval(() => {
        switched += 1
        alone.child.stdin?.write(`${ports[switched % 2]}\n`)
      }, switchEveryMs)
      return async () => clearInterval(timer)
    })
    const how = `${switched} switches, ${1000 / switchEveryMs} a second, ${load.perSecond} requests a second; medians of ` +
      `${rounds} rounds, each beside one at rest`
    return [
      {what: "p99 during switches ÷ p99 at rest", value: ratio, unit: "×", goal: 1.1, how, beside: {rest, moving}, in: "µs"},
      {what: "requests failed during switches", value: failed, unit: "requests", goal: 0, how}
    ]
  } finally {
    for (const {end} of started) await end()
    for (const folder of folders) rmSync(folder, {recursive: true, force: true})
  }
}

/**
 * Real deploys: a process is started, checked, switched to, and the one before is drained and stopped.
 *
 * @param {{rounds: number, deploysEach: number}} plan
 */
async function throughDeploys({rounds, deploysEach}) {
  const folder = mkdtempSync(join(tmpdir(), "rollbridge-bench-"))
  const range = await freePortRange(16)
  const command = smallAnswer.command("$PORT", folder)
  const file = join(folder, "application.conf")
  const own = `sed "s/[$]PORT/{{port}}/; s#application.pid#{{port}}.pid#" ${file} > ${folder}/{{port}}.conf; ` +
    command.replace(file, `${folder}/{{port}}.conf`)
  const daemon = await startRollbridge(folder, range, own)
  try {
    let deploys = 0
    const {ratio, failed, rest, moving} = await compare(daemon.port, rounds, deploysEach, () => {
      let goesOn = true
      const deploying = (async () => {
        for (let index = 0; index < deploysEach && goesOn; index += 1) {
          deploys += 1
          await Promise.all([daemon.deploy(`release-${deploys}`), wait(1000)])
        }
      })()
      return async () => {
        goesOn = false
        await deploying
      }
    })
    const how = `${deploys} deploys of a small nginx, one a second, ${load.perSecond} requests a second; medians of ${rounds} ` +
      "rounds, each beside one at rest"
    return [
      // What processes that start and stop take from the load on two CPUs is in it; there is no promise about that.
      {what: "p99 through deploys ÷ p99 at rest", value: ratio, unit: "×", how, beside: {rest, moving}, in: "µs"},
      {what: "requests failed through deploys", value: failed, unit: "requests", goal: 0, how}
    ]
  } finally {
    await daemon.end()
    rmSync(folder, {recursive: true, force: true})
  }
}

/**
 * Rounds at rest and rounds while something goes on, in turn.
 *
 * @param {number} port
 * @param {number} rounds
 * @param {number} seconds
 * @param {() => () => Promise<void>} begin starts what goes on; what it returns stops it
 */
async function compare(port, rounds, seconds, begin) {
  await fixedRate(port, {...load, seconds: 1})
  const pairs = []
  let failed = 0
  for (let round = 0; round < rounds; round += 1) {
    const rest = await fixedRate(port, {...load, seconds})
    const stop = begin()
    const moving = await fixedRate(port, {...load, seconds})
    await stop()
    failed += rest.failed + moving.failed
    pairs.push({rest: rest.p99Us, moving: moving.p99Us})
  }
  return {
    failed,
    ratio: median(pairs.map(({rest, moving}) => moving / rest)),
    rest: median(pairs.map(({rest}) => rest)),
    moving: median(pairs.map(({moving}) => moving))
  }
}
