// What forwarding costs, beside nginx and HAProxy in the same run. Rounds alternate, and medians of each round's ratio are
// compared, because absolute times differ between machines and minutes.

import {mkdirSync, mkdtempSync, rmSync, writeFileSync} from "node:fs"
import {createRequire} from "node:module"
import {tmpdir} from "node:os"
import {dirname, join} from "node:path"
import {fileURLToPath} from "node:url"
import {chart} from "./proxy/chart.mjs"
import {endContenders, startContenders} from "./proxy/contenders.mjs"
import {instructionsPerRequest} from "./proxy/instructions.mjs"
import {fixedRate, peak} from "./proxy/load.mjs"
import {median} from "./proxy/median.mjs"
import {cpuMicroseconds, memoryBytes, version} from "./proxy/process.mjs"

const {freePort} = createRequire(import.meta.url)("../tests/support/free-ports.js")
const connections = 64
const fixedPerSecond = 1000
const results = join(dirname(fileURLToPath(import.meta.url)), "results")

/** @typedef {{perSecond: number, cpuUs: number, soloP50Us: number, p50Us: number, p99Us: number, residentMb: number}} Row */

/** @param {import("./proxy/figure.mjs").Options} options */
export async function measure({quick, engine}) {
  const rounds = quick ? 3 : 9
  const folder = mkdtempSync(join(tmpdir(), "rollbridge-bench-"))
  /** @type {import("./proxy/contenders.mjs").Contender[]} */
  let contenders = []
  try {
    contenders = await startContenders(folder)
    /** @type {Map<string, Row[]>} */
    const rows = new Map(contenders.map(({name}) => [name, []]))
    for (const {port} of contenders) await peak(port, {connections, seconds: 1})
    for (let round = 0; round < rounds; round += 1) {
      for (const contender of contenders) rows.get(contender.name)?.push(await measureOne(contender, quick))
    }
    const instructions = await countInstructions(contenders, engine, quick)
    const how = `medians of ${rounds} alternating rounds, ${connections} connections, one worker or thread and one CPU each`
    publish(rows, instructions, rounds)
    return [...ratios(rows, how), ...instructionRatio(instructions)]
  } finally {
    await endContenders(contenders)
    rmSync(folder, {recursive: true, force: true})
  }
}

/**
 * @param {import("./proxy/contenders.mjs").Contender} contender
 * @param {boolean} quick
 * @returns {Promise<Row>}
 */
async function measureOne({port, pid}, quick) {
  const before = pid ? cpuMicroseconds(pid) : 0
  const {requests, perSecond} = await peak(port, {connections, seconds: quick ? 1 : 2})
  const cpuUs = pid ? (cpuMicroseconds(pid) - before) / requests : 0
  const {p50Us: soloP50Us} = await peak(port, {connections: 1, seconds: 1})
  const {p50Us, p99Us} = await fixedRate(port, {perSecond: fixedPerSecond, seconds: quick ? 1 : 2, connections: 32})
  return {perSecond, cpuUs, soloP50Us, p50Us, p99Us, residentMb: pid ? memoryBytes(pid) / 1024 / 1024 : 0}
}

/**
 * The same configurations once more, under valgrind.
 *
 * @param {import("./proxy/contenders.mjs").Contender[]} contenders
 * @param {string} engine
 * @param {boolean} quick
 */
async function countInstructions(contenders, engine, quick) {
  const port = await freePort()
  const upstream = String(contenders.find(({name}) => name === "direct")?.port)
  const load = {connections, seconds: quick ? 2 : 4}
  /** @type {Record<string, number>} */
  const counts = {
    rollbridge: await instructionsPerRequest({port, command: engine, args: [String(port), upstream]}, load)
  }
  for (const {name, port: usual, end, again} of contenders) {
    if (!again) continue
    await end()
    const [command, ...args] = again
    counts[name] = await instructionsPerRequest({port: usual, command, args}, load)
  }
  return counts
}

/**
 * @param {Map<string, Row[]>} rows
 * @param {string} how
 * @returns {import("./proxy/figure.mjs").Figure[]}
 */
function ratios(rows, how) {
  const of = (/** @type {string} */ name) => {
    const found = rows.get(name)
    if (!found) throw new Error(`${name} was not measured`)
    return found
  }
  const [direct, own, nginx, haproxy] = [of("direct"), of("rollbridge"), of("nginx"), of("haproxy")]
  const each = (/** @type {(round: number) => number} */ ratio) => median(own.map((_, round) => ratio(round)))
  const beside = (/** @type {keyof Row} */ key) => {
    return Object.fromEntries([...rows].map(([name, measured]) => [name, median(measured.map((row) => row[key]))]))
  }
  const solo = (/** @type {Row[]} */ of) => median(of.map((row) => row.soloP50Us))
  const added = (/** @type {Row[]} */ of) => solo(of) - solo(direct)
  const unit = "×"
  return [
    {
      what: "CPU per small keep-alive request ÷ nginx's",
      value: each((round) => own[round].cpuUs / nginx[round].cpuUs), unit, goal: 0.8, how, beside: beside("cpuUs"), in: "µs"
    },
    {
      what: "CPU per small keep-alive request ÷ HAProxy's",
      value: each((round) => own[round].cpuUs / haproxy[round].cpuUs), unit, goal: 0.7, how, beside: beside("cpuUs"), in: "µs"
    },
    {
      what: "requests per second ÷ nginx's", atLeast: true,
      value: each((round) => own[round].perSecond / nginx[round].perSecond), unit, goal: 1.1, how,
      beside: beside("perSecond"), in: "1/s"
    },
    {
      what: "requests per second ÷ HAProxy's", atLeast: true,
      value: each((round) => own[round].perSecond / haproxy[round].perSecond), unit, goal: 1.25, how,
      beside: beside("perSecond"), in: "1/s"
    },
    {
      what: "added p50 at one connection ÷ nginx's",
      value: added(own) / added(nginx), unit, goal: 0.85, how: how.replace(`${connections} connections`, "one connection"),
      beside: beside("soloP50Us"), in: "µs"
    }
  ]
}

/**
 * @param {Record<string, number>} counts
 * @returns {import("./proxy/figure.mjs").Figure[]}
 */
function instructionRatio(counts) {
  const value = counts.rollbridge / counts.nginx
  const how = `callgrind, ${connections} connections; of Rollbridge the forwarding engine alone`
  return [{what: "user-space instructions per request ÷ nginx's", value, unit: "×", goal: 0.5, how, beside: counts, in: "1"}]
}

/**
 * @param {Map<string, Row[]>} rows
 * @param {Record<string, number>} instructions
 * @param {number} rounds
 */
function publish(rows, instructions, rounds) {
  const keys = /** @type {(keyof Row)[]} */ (["perSecond", "cpuUs", "soloP50Us", "p50Us", "p99Us", "residentMb"])
  const medians = Object.fromEntries([...rows].map(([name, measured]) => {
    return [name, Object.fromEntries(keys.map((key) => [key, median(measured.map((row) => row[key]))]))]
  }))
  console.table(Object.fromEntries(Object.entries(medians).map(([name, row]) => [name, {
    "requests/s": Math.round(row.perSecond),
    "CPU µs/request": Number(row.cpuUs.toFixed(1)),
    "instructions/request": Math.round(instructions[name] ?? 0),
    "p50 µs, one connection": Number(row.soloP50Us.toFixed(1)),
    [`p50 µs at ${fixedPerSecond}/s`]: Math.round(row.p50Us),
    [`p99 µs at ${fixedPerSecond}/s`]: Math.round(row.p99Us),
    "resident MB": Number(row.residentMb.toFixed(1))
  }])))
  const versions = {nginx: version("nginx", "-v"), haproxy: version("haproxy", "-v"), wrk: version("wrk", "-v")}
  const setting = {rounds, connections, fixedPerSecond, versions}
  mkdirSync(results, {recursive: true})
  writeFileSync(join(results, "proxy.json"), `${JSON.stringify({...setting, medians, instructions}, null, 2)}\n`)
  const group = (/** @type {string} */ title, /** @type {string} */ unit, /** @type {string} */ key) => {
    const values = Object.entries(medians).map(([name, row]) => [name, row[key]]).filter(([, value]) => Number(value) > 0)
    return {title, unit, values: Object.fromEntries(values)}
  }
  writeFileSync(join(results, "proxy.svg"), chart("Small keep-alive requests, one worker or thread each", [
    group("CPU per request, less is better", "µs", "cpuUs"),
    {title: "user-space instructions per request, less is better", unit: "1", values: instructions},
    group(`requests per second, ${connections} connections, more is better`, "1/s", "perSecond"),
    group("p50 at one connection, less is better", "µs", "soloP50Us"),
    group("resident memory, less is better", "MB", "residentMb")
  ]))
}
