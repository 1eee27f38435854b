// Builds the native parts into this checkout: the binary, where cargo puts it, and the Node addon, beside index.js.
// Usage: node scripts/build.mjs [--dist]

import {copyFileSync, renameSync} from "node:fs"
import {createRequire} from "node:module"
import {join} from "node:path"
import {pathToFileURL} from "node:url"
import {root, runCommand, runScript} from "./run-command.mjs"

const {cargoOutput, currentTarget} = createRequire(import.meta.url)("../lib/native.js")

/** @param {{dist?: boolean}} [options] `dist` makes what is shipped: slower to build, faster to run */
export async function build({dist = false} = {}) {
  const profile = dist ? ["--profile", "dist"] : []
  await runCommand("cargo", ["build", "--bin", "rollbridge", ...profile])
  await runCommand("cargo", ["build", "--lib", "--features", "node", ...profile], {env: libraryEnvironment()})

  const library = `librollbridge.${process.platform === "darwin" ? "dylib" : "so"}`
  const addon = join(root, `rollbridge.${currentTarget()}.node`)
  // A process that has the old addon loaded keeps its file; writing into it would crash that process.
  copyFileSync(cargoOutput(dist ? "dist" : "debug", library), `${addon}.new`)
  renameSync(`${addon}.new`, addon)
  console.log(`built ${cargoOutput(dist ? "dist" : "debug", "rollbridge")} and ${addon}`)
}

/** On musl, Rust links statically by itself: right for the binary, impossible for a library that Node loads. */
function libraryEnvironment() {
  if (!currentTarget().endsWith("-musl")) return process.env
  return {...process.env, RUSTFLAGS: `${process.env.RUSTFLAGS ?? ""} -C target-feature=-crt-static`.trim()}
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await runScript(() => build({dist: process.argv.includes("--dist")}))
}
