// Measures what the project promises in figures, on this machine, with the binary that is shipped.
// Usage: node scripts/bench.mjs [--skip-build] [--quick] [part...]. Each part of bench/ is one file; results go to
// bench/results/, those of a quick run only to the terminal. Single parts leave the figures of the others.

import {execFileSync} from "node:child_process"
import {existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync} from "node:fs"
import {createRequire} from "node:module"
import {cpus, release, totalmem} from "node:os"
import {join} from "node:path"
import {isMet} from "../bench/proxy/figure.mjs"
import {withTable} from "../bench/proxy/table.mjs"
import {build} from "./build.mjs"
import {root, runScript} from "./run-command.mjs"
import {setUp} from "./setup.mjs"

const {cargoOutput} = createRequire(import.meta.url)("../lib/native.js")
const options = process.argv.slice(2).filter((argument) => argument.startsWith("--"))
const named = process.argv.slice(2).filter((argument) => !argument.startsWith("--"))
const quick = options.includes("--quick")
const skipsBuild = options.includes("--skip-build")

await setUp()
if (!skipsBuild) await runScript(() => build({dist: true}))
process.env.ROLLBRIDGE_BINARY = cargoOutput("dist", "rollbridge")

const all = readdirSync(join(root, "bench")).filter((name) => name.endsWith(".mjs")).sort()
const parts = all.filter((name) => named.length === 0 || named.includes(name.slice(0, -".mjs".length)))
const engine = skipsBuild ? newestEngine() : buildEngine()
/** @type {import("../bench/proxy/figure.mjs").Figure[]} */
const figures = []
/** @type {string[]} */
const broken = []
for (const part of parts) {
  const began = performance.now()
  console.log(`\n${part}`)
  try {
    const {measure} = await import(join(root, "bench", part))
    for (const figure of await measure({quick, engine})) {
      figures.push(figure)
      console.log(`  ${figure.what}: ${round(figure.value)} ${figure.unit} (${verdict(figure)})${beside(figure)}`)
    }
  } catch (error) {
    // What the other parts measure is worth having all the same.
    broken.push(part)
    console.error(error)
  }
  console.log(`  took ${Math.round((performance.now() - began) / 1000)} s`)
}

const missed = figures.filter((figure) => !isMet(figure))
if (quick) {
  console.log("\na quick run: nothing is written")
} else {
  const machine = {cpu: cpus()[0]?.model, cores: cpus().length, memoryBytes: totalmem(), kernel: release(), node: process.version}
  const results = join(root, "bench", "results")
  mkdirSync(results, {recursive: true})
  const file = join(results, "figures.json")
  // A run of single parts leaves the figures of the others.
  const others = named.length > 0 && existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).figures : []
  const kept = others.filter((/** @type {{what: string}} */ {what}) => !figures.some((figure) => figure.what === what))
  const whole = [...kept, ...figures]
  writeFileSync(file, `${JSON.stringify({machine, figures: whole}, null, 2)}\n`)
  const page = join(root, "docs", "performance.md")
  writeFileSync(page, withTable(readFileSync(page, "utf8"), whole))
  console.log("\nbench/results/figures.json and docs/performance.md have the figures")
}
console.log(`${figures.length - missed.length} of ${figures.length} goals met`)
for (const figure of missed) console.log(`MISSED: ${figure.what}: ${round(figure.value)} ${figure.unit}, ${verdict(figure)}`)
for (const part of broken) console.log(`NOT MEASURED: bench/${part}`)
process.exit(missed.length + broken.length === 0 ? 0 : 1)

/** Builds bench/engine/alone.rs, and says where it is. */
function buildEngine() {
  const args = ["build", "--profile", "dist", "--bench", "alone", "--message-format", "json-render-diagnostics"]
  const stdio = /** @type {["ignore", "pipe", "inherit"]} */ (["ignore", "pipe", "inherit"])
  const messages = execFileSync("cargo", args, {cwd: root, encoding: "utf8", stdio, maxBuffer: 64 * 1024 * 1024})
  const artifacts = messages.trim().split("\n").map((line) => JSON.parse(line))
  const built = artifacts.find(({executable, target}) => executable && target.name === "alone")
  return built.executable
}

/** The one built last. */
function newestEngine() {
  const folder = cargoOutput("dist", "deps")
  const built = readdirSync(folder).filter((name) => /^alone-[0-9a-f]+$/.test(name)).map((name) => join(folder, name))
  const [newest] = built.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)
  if (!newest) throw new Error(`there is no engine in ${folder}: run without --skip-build`)
  return newest
}

/** @param {import("../bench/proxy/figure.mjs").Figure} figure */
function verdict(figure) {
  if (figure.goal === undefined) return "no goal"
  return `goal: at ${figure.atLeast ? "least" : "most"} ${figure.goal}; ${isMet(figure) ? "met" : "MISSED"}`
}

/** @param {import("../bench/proxy/figure.mjs").Figure} figure */
function beside(figure) {
  const each = Object.entries(figure.beside ?? {}).filter(([, value]) => value > 0)
  return each.length === 0 ? "" : `; ${figure.in}: ${each.map(([name, value]) => `${name} ${round(value)}`).join(", ")}`
}

/** @param {number} value */
function round(value) {
  return Math.round(value * 100) / 100
}
