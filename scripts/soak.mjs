// Load and faults together, for as long as you like, and an account of everything from both sides.
// Usage: npm run soak -- [--minutes 10 | --seconds 30] [--seed 1] [--binary <path>] [--keep]
//        npm run soak -- --leaks [--restarts 10000] [--deploys 500] [--connections 100000] [--binary <path>]
// docs/reliability.md tells what is done and what must hold.

import {createRequire} from "node:module"
import {resolve} from "node:path"
import {parseArgs} from "node:util"
import {leaks} from "../tests/soak/leaks.mjs"
import {report} from "../tests/soak/report.mjs"
import {soak} from "../tests/soak/run.mjs"

const {values} = parseArgs({
  options: {
    minutes: {type: "string", default: "10"},
    seconds: {type: "string"},
    seed: {type: "string"},
    binary: {type: "string"},
    keep: {type: "boolean", default: false},
    leaks: {type: "boolean", default: false},
    restarts: {type: "string", default: "10000"},
    deploys: {type: "string", default: "500"},
    connections: {type: "string", default: "100000"}
  }
})
const binary = resolve(values.binary ?? createRequire(import.meta.url)("../lib/native.js").findBinary())
const log = (/** @type {string} */ text) => console.log(text)
process.exit(await (values.leaks ? lookForLeaks() : runSoak()))

async function runSoak() {
  const seed = Number(values.seed ?? Date.now() % 1_000_000)
  const seconds = Number(values.seconds ?? Number(values.minutes) * 60)
  log(`soak of ${seconds} s with seed ${seed}: ${binary}`)
  const result = await soak({binary, seconds, seed, keepsFolder: values.keep, log})
  log(report(result))
  return result.findings.length === 0 ? 0 : 1
}

async function lookForLeaks() {
  const {restarts, deploys, connections} = values
  const amounts = {restarts: Number(restarts), deploys: Number(deploys), connections: Number(connections)}
  const findings = await leaks({binary, amounts, log})
  log(findings.length === 0 ? "nothing leaked" : findings.join("\n"))
  return findings.length === 0 ? 0 : 1
}
