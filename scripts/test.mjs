// Every check of the project, in order, stopping at the first that fails. `npm test` on a fresh clone needs nothing
// else: the first two steps install and build what the others use.

import {spawnSync} from "node:child_process"
import {readdirSync} from "node:fs"
import {join} from "node:path"
import {build} from "./build.mjs"
import {root, runCommand} from "./run-command.mjs"
import {setUp} from "./setup.mjs"

const denyWarnings = ["--", "-D", "warnings"]
const installedTool = (/** @type {string} */ name) => join(root, "node_modules", ".bin", name)

const testPortable = ["test", "--features", "portable", "--lib", "--test", "daemon"]
/** What of the tests shows best that the half of src/host/platform for macOS works. */
const tellingTests = ["host::", "absence::", "states::", "shutdown::", "crashing::", "recovering::"]

/** @type {{name: string, run: () => Promise<void>}[]} */
const steps = [
  {name: "set up", run: () => setUp({rustTools: ["fmt", "clippy"]})},
  {name: "build", run: () => build()},
  {name: "Rust format", run: () => runCommand("cargo", ["fmt", "--check"])},
  {
    name: "Rust lints, with the addon",
    run: () => runCommand("cargo", ["clippy", "--all-targets", "--all-features", ...denyWarnings])
  },
  {name: "Rust lints, without it", run: () => runCommand("cargo", ["clippy", "--all-targets", ...denyWarnings])},
  {name: "Rust types, for macOS", run: checkForMacOs},
  {name: "known weaknesses of crates", run: checkForAdvisories},
  // Before the others, because it leaves its own binary where they look for theirs.
  {name: "Rust tests, with what macOS has", run: () => runCommand("cargo", [...testPortable, "--", ...tellingTests])},
  {name: "Rust tests", run: () => runCommand("cargo", ["test"])},
  {name: "JavaScript lints", run: () => runCommand(installedTool("eslint"), ["."])},
  {name: "types", run: () => runCommand(installedTool("tsc"), [])},
  {name: "JavaScript tests", run: runJavaScriptTests},
  {name: "demo", run: () => runCommand(process.execPath, [join("scripts", "demo.mjs"), "--quick"])}
]

/** A check needs no linker, so it works on Linux too, wherever Rust's own library for macOS is installed. */
async function checkForMacOs() {
  const target = "aarch64-apple-darwin"
  const {stdout} = spawnSync("rustup", ["target", "list", "--installed"], {encoding: "utf8"})
  if (!stdout?.split("\n").includes(target)) {
    console.log(`not checked: add Rust's library for macOS with \`rustup target add ${target}\``)
    return
  }
  await runCommand("cargo", ["check", "--lib", "--bins", "--features", "node", "--target", target])
}

/** Asks the database of advisories, which needs the network and a tool; licences and sources are tested without either. */
async function checkForAdvisories() {
  if (spawnSync("cargo", ["deny", "--version"]).status !== 0) {
    console.log("not checked: install the tool with `cargo install --locked cargo-deny`")
    return
  }
  await runCommand("cargo", ["deny", "check"])
}

function runJavaScriptTests() {
  const files = readdirSync(join(root, "tests")).filter((name) => name.endsWith(".test.js"))
  // Without a terminal Node 20 would print TAP, which nobody reads. Its limit is for all tests of a file together, and the
  // slowest file takes half a minute on two cores that do nothing else.
  const options = ["--test", "--test-reporter=spec", "--test-timeout=600000"]
  return runCommand(process.execPath, [...options, ...files.map((name) => join("tests", name))])
}

/** @param {number} since */
const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`

async function runSteps() {
  const startedAt = performance.now()
  const summary = []
  for (const [index, {name, run}] of steps.entries()) {
    console.log(`\n==== ${index + 1}/${steps.length} ${name} ====`)
    const stepStartedAt = performance.now()
    try {
      await run()
    } catch (error) {
      console.error(`\n${error instanceof Error ? error.message : error}`)
      summary.push(`FAILED  ${name} (${seconds(stepStartedAt)})`)
      process.exitCode = 1
      break
    }
    summary.push(`ok      ${name} (${seconds(stepStartedAt)})`)
  }
  const notRun = steps.slice(summary.length).map(({name}) => `not run ${name}`)
  console.log(`\n==== summary ====\n${[...summary, ...notRun].join("\n")}`)
  console.log(process.exitCode ? `failed after ${seconds(startedAt)}` : `all checks passed in ${seconds(startedAt)}`)
}

await runSteps()
