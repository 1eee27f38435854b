// What forwarding costs, beside nginx and HAProxy in the same run. Rounds alternate, and medians are compared, because
// absolute times differ between machines and minutes.

import {spawnSync} from "node:child_process"
import {mkdirSync, mkdtempSync, rmSync, writeFileSync} from "node:fs"
import {tmpdir} from "node:os"
import {delimiter, dirname, join} from "node:path"
import {fileURLToPath} from "node:url"
import {chart} from "./proxy/chart.mjs"
import {cpuMicroseconds, endContenders, residentMegabytes, startContenders} from "./proxy/contenders.mjs"
import {fixedRate, peak} from "./proxy/load.mjs"

const rounds = 5
const connections = 64
const fixedPerSecond = 1000
const results = join(dirname(fileURLToPath(import.meta.url)), "results")

/** @typedef {{perSecond: number, cpuUs: number, soloP50Us: number, p50Us: number, p99Us: number, residentMb: number}} Row */

export async function measure() {
  const folder = mkdtempSync(join(tmpdir(), "rollbridge-bench-"))
  /** @type {import("./proxy/contenders.mjs").Contender[]} */
  let contenders = []
  try {
    contenders = await startContenders(folder)
    /** @type {Map<string, Row[]>} */
    const rows = new Map(contenders.map(({name}) => [name, []]))
    for (const {port} of contenders) await peak(port, {connections, seconds: 1})
    for (let round = 0; round < rounds; round += 1) {
      for (const contender of contenders) rows.get(contender.name)?.push(await measureOne(contender))
    }
    const table = new Map([...rows].map(([name, measured]) => [name, medians(measured)]))
    publish(table)
    return goals(table)
  } finally {
    await endContenders(contenders)
    rmSync(folder, {recursive: true, force: true})
  }
}

/**
 * @param {import("./proxy/contenders.mjs").Contender} contender
 * @returns {Promise<Row>}
 */
async function measureOne({port, pid}) {
  const before = pid ? cpuMicroseconds(pid) : 0
  const {requests, perSecond} = await peak(port, {connections, seconds: 2})
  const cpuUs = pid ? (cpuMicroseconds(pid) - before) / requests : 0
  const {p50Us: soloP50Us} = await peak(port, {connections: 1, seconds: 1})
  const {p50Us, p99Us} = await fixedRate(port, {perSecond: fixedPerSecond, seconds: 2, connections: 32})
  return {perSecond, cpuUs, soloP50Us, p50Us, p99Us, residentMb: pid ? residentMegabytes(pid) : 0}
}

/**
 * @param {Row[]} rows
 * @returns {Row}
 */
function medians(rows) {
  const median = (/** @type {keyof Row} */ key) => {
    const sorted = rows.map((row) => row[key]).sort((a, b) => a - b)
    return sorted[Math.floor(sorted.length / 2)]
  }
  return {
    perSecond: median("perSecond"),
    cpuUs: median("cpuUs"),
    soloP50Us: median("soloP50Us"),
    p50Us: median("p50Us"),
    p99Us: median("p99Us"),
    residentMb: median("residentMb")
  }
}

/** @param {Map<string, Row>} table */
function publish(table) {
  console.table(Object.fromEntries([...table].map(([name, row]) => [name, {
    "requests/s": Math.round(row.perSecond),
    "CPU µs/request": Number(row.cpuUs.toFixed(1)),
    "p50 µs, one connection": Number(row.soloP50Us.toFixed(1)),
    [`p50 µs at ${fixedPerSecond}/s`]: Math.round(row.p50Us),
    [`p99 µs at ${fixedPerSecond}/s`]: Math.round(row.p99Us),
    "resident MB": Number(row.residentMb.toFixed(1))
  }])))
  const versions = {nginx: version("nginx", "-v"), haproxy: version("haproxy", "-v"), wrk: version("wrk", "-v")}
  const setting = {rounds, connections, fixedPerSecond, versions}
  mkdirSync(results, {recursive: true})
  writeFileSync(join(results, "proxy.json"), `${JSON.stringify({...setting, medians: Object.fromEntries(table)}, null, 2)}\n`)
  const group = (/** @type {string} */ title, /** @type {string} */ unit, /** @type {keyof Row} */ key) => {
    const values = [...table].filter(([, row]) => row[key] > 0).map(([name, row]) => [name, row[key]])
    return {title, unit, values: Object.fromEntries(values)}
  }
  writeFileSync(join(results, "proxy.svg"), chart("Small keep-alive requests, one worker or thread each", [
    group("CPU per request, less is better", "µs", "cpuUs"),
    group(`requests per second, ${connections} connections, more is better`, "1/s", "perSecond"),
    group("p50 at one connection, less is better", "µs", "soloP50Us"),
    group(`p99 at ${fixedPerSecond} requests per second, less is better`, "µs", "p99Us"),
    group("resident memory, less is better", "MB", "residentMb")
  ]))
}

/** @param {Map<string, Row>} table */
function goals(table) {
  const of = (/** @type {string} */ name) => {
    const row = table.get(name)
    if (!row) throw new Error(`${name} was not measured`)
    return row
  }
  const [direct, own, nginx, haproxy] = [of("direct"), of("rollbridge"), of("nginx"), of("haproxy")]
  const how = `medians of ${rounds} alternating rounds, one worker or thread each, one CPU each, upstream keep-alive`
  const ratio = (/** @type {string} */ what, /** @type {number} */ value, /** @type {number} */ goal) => {
    return {what, value, unit: "×", goal, how}
  }
  return [
    ratio("CPU per small keep-alive request ÷ nginx's", own.cpuUs / nginx.cpuUs, 0.8),
    ratio("CPU per small keep-alive request ÷ HAProxy's", own.cpuUs / haproxy.cpuUs, 0.7),
    ratio("nginx's requests per second ÷ ours", nginx.perSecond / own.perSecond, 1 / 1.1),
    ratio("HAProxy's requests per second ÷ ours", haproxy.perSecond / own.perSecond, 1 / 1.25),
    ratio(
      "added p50 at one connection ÷ nginx's",
      (own.soloP50Us - direct.soloP50Us) / (nginx.soloP50Us - direct.soloP50Us), 0.85
    )
  ]
}

/**
 * @param {string} command
 * @param {string} option
 */
function version(command, option) {
  const env = {...process.env, PATH: `${process.env.PATH}${delimiter}/usr/sbin`}
  const {stdout, stderr} = spawnSync(command, [option], {encoding: "utf8", env})
  return /\d+\.\d+[\w.-]*/.exec(`${stdout}${stderr}`)?.[0] ?? "unknown"
}
