// Makes a fresh clone ready: checks the tools, installs what package-lock.json names. It uses Node's own modules only,
// because it runs before anything is installed.

import {spawnSync} from "node:child_process"
import {existsSync, readFileSync} from "node:fs"
import {join} from "node:path"
import {root, runCommand} from "./run-command.mjs"

const oldestNode = 20

/**
 * @param {{rustTools?: string[]}} [needs] cargo subcommands needed besides cargo itself
 */
export async function setUp({rustTools = []} = {}) {
  requireNode()
  requireCargo(rustTools)
  const difference = differenceFromLock(root)
  if (difference === undefined) {
    console.log("npm packages: as package-lock.json says")
    return
  }
  console.log(`npm packages: ${difference}; running npm ci`)
  await runCommand("npm", ["ci", "--no-audit", "--no-fund"])
}

function requireNode() {
  const major = Number(process.versions.node.split(".")[0])
  if (major < oldestNode) {
    throw new Error(`Node ${process.versions.node} is too old: install Node ${oldestNode} or newer`)
  }
  console.log(`node: ${process.version}`)
}

/** @param {string[]} tools */
function requireCargo(tools) {
  const version = outputOf("cargo", ["--version"])
  if (version === undefined) {
    throw new Error("cargo was not found: install Rust (https://rustup.rs) and make sure that cargo is on the PATH")
  }
  console.log(`cargo: ${version}`)
  for (const tool of tools) {
    if (outputOf("cargo", [tool, "--version"]) !== undefined) continue
    throw new Error(`cargo ${tool} was not found: add it with \`rustup component add rustfmt clippy\``)
  }
}

/**
 * @param {string} command
 * @param {string[]} args
 */
function outputOf(command, args) {
  const {status, stdout} = spawnSync(command, args, {cwd: root, encoding: "utf8"})
  return status === 0 ? stdout.trim() : undefined
}

/**
 * In what way `node_modules` of this folder is not what its lock file describes; `undefined` when it is.
 *
 * @param {string} folder
 * @returns {string | undefined}
 */
export function differenceFromLock(folder) {
  const installedFile = join(folder, "node_modules", ".package-lock.json")
  if (!existsSync(installedFile)) return "nothing is installed"
  const wanted = packagesIn(join(folder, "package-lock.json"))
  const installed = packagesIn(installedFile)
  for (const [path, {version, optional}] of Object.entries(wanted)) {
    // The first entry, without a path, is this package itself. Optional ones may be for another platform.
    if (path === "" || (optional && !installed[path])) continue
    if (!installed[path] || installed[path].version !== version) return `${path} is not at ${version ?? "its place"}`
    if (!existsSync(join(folder, path))) return `${path} is missing`
  }
  const surplus = Object.keys(installed).find((path) => !wanted[path])
  return surplus && `${surplus} is installed but not in package-lock.json`
}

/**
 * @param {string} lockFile
 * @returns {Record<string, {version?: string, optional?: boolean}>}
 */
function packagesIn(lockFile) {
  return JSON.parse(readFileSync(lockFile, "utf8")).packages
}
