// Measures what the project promises in figures, on this machine, with the binary that is shipped.
// Usage: node scripts/bench.mjs [--skip-build]. Each part of bench/ is one file; results go to bench/results/.

import {mkdirSync, readdirSync, writeFileSync} from "node:fs"
import {createRequire} from "node:module"
import {cpus, release, totalmem} from "node:os"
import {join} from "node:path"
import {build} from "./build.mjs"
import {root, runScript} from "./run-command.mjs"
import {setUp} from "./setup.mjs"

const {cargoOutput} = createRequire(import.meta.url)("../lib/native.js")

/**
 * @typedef {object} Figure
 * @property {string} what
 * @property {number} value
 * @property {string} unit
 * @property {number} goal the value must not exceed it
 * @property {string} how how it was measured
 */

await setUp()
if (!process.argv.includes("--skip-build")) await runScript(() => build({dist: true}))
process.env.ROLLBRIDGE_BINARY = cargoOutput("dist", "rollbridge")

const parts = readdirSync(join(root, "bench")).filter((name) => name.endsWith(".mjs")).sort()
/** @type {Figure[]} */
const figures = []
for (const part of parts) {
  console.log(`\n${part}`)
  const {measure} = await import(join(root, "bench", part))
  for (const figure of await measure()) {
    figures.push(figure)
    const verdict = figure.value <= figure.goal ? "met" : "MISSED"
    console.log(`  ${figure.what}: ${round(figure.value)} ${figure.unit} (goal: at most ${figure.goal}; ${verdict})`)
  }
}

const machine = {cpu: cpus()[0]?.model, cores: cpus().length, memoryBytes: totalmem(), kernel: release(), node: process.version}
const results = join(root, "bench", "results")
mkdirSync(results, {recursive: true})
writeFileSync(join(results, "figures.json"), `${JSON.stringify({machine, figures}, null, 2)}\n`)
const missed = figures.filter(({value, goal}) => value > goal)
console.log(`\n${figures.length - missed.length} of ${figures.length} goals met; bench/results/figures.json has the figures`)
process.exit(missed.length === 0 ? 0 : 1)

/** @param {number} value */
function round(value) {
  return Math.round(value * 100) / 100
}
