"use strict"

// The packages as they are published, assembled from what this checkout has built, packed, and installed by npm.

const {execFile} = require("node:child_process")
const fs = require("node:fs")
const path = require("node:path")
const {promisify} = require("node:util")
const {currentTarget, findAddon, findBinary} = require("../../lib/native.js")

const execute = promisify(execFile)

/** The environment of somebody who has never seen the checkout. */
function strangersEnvironment() {
  const {ROLLBRIDGE_BINARY: _binary, ROLLBRIDGE_NODE: _node, CARGO_TARGET_DIR: _target, ...env} = process.env
  void [_binary, _node, _target]
  // A test run by npm inherits settings of the checkout under this prefix.
  for (const name of Object.keys(env)) if (/^npm_/i.test(name)) delete env[name]
  const folderOfNode = path.dirname(process.execPath)
  return {...env, PATH: `${folderOfNode}${path.delimiter}${env.PATH}`, NO_COLOR: "1"}
}

/**
 * Packs the root package and the one of this platform.
 *
 * @param {string} into
 */
async function packed(into) {
  const {assemblePlatformPackage, assembleRootPackage, pack} = await import("../../scripts/packages.mjs")
  const native = {target: currentTarget(), binary: findBinary(), addon: findAddon()}
  const folder = assemblePlatformPackage(into, native)
  // Debug information is most of what would be packed, and no test looks at it. Without the tool it only takes longer.
  for (const file of ["rollbridge", path.basename(native.addon)]) {
    await execute("strip", ["-S", path.join(folder, file)]).catch(() => {})
  }
  const [platform, root] = pack([folder, assembleRootPackage(into)], into)
  return {root, platform}
}

/**
 * Runs a program to its end in this folder.
 *
 * @param {string} folder
 * @param {string} program
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<{status: number, stdout: string, stderr: string}>}
 */
async function run(folder, program, args, env = strangersEnvironment()) {
  try {
    const {stdout, stderr} = await execute(program, args, {cwd: folder, env, encoding: "utf8", timeout: 300_000})
    return {status: 0, stdout, stderr}
  } catch (error) {
    const {code, stdout, stderr, message} = /** @type {any} */ (error)
    if (typeof code !== "number") throw new Error(`${program} ${args.join(" ")}: ${message}`, {cause: error})
    return {status: code, stdout, stderr}
  }
}

/**
 * Installs tarballs into a folder as npm does it for a user, without asking any registry.
 *
 * @param {string} folder
 * @param {string[]} tarballs
 */
async function install(folder, tarballs) {
  const options = ["--offline", "--no-audit", "--no-fund", "--no-progress"]
  const {status, stdout, stderr} = await run(folder, "npm", ["install", ...options, ...tarballs])
  if (status !== 0) throw new Error(`npm install failed:\n${stdout}${stderr}`)
}

/**
 * What pnpm makes of the same packages: each in a folder of a store, its dependencies linked beside it.
 *
 * @param {string} folder
 * @param {{root: {file: string}, platform: {file: string, name: string}}} packages
 */
async function linkLikePnpm(folder, {root, platform}) {
  const store = path.join(folder, "node_modules", ".pnpm")
  /** @type {[string, string][]} */
  const stored = [["rollbridge", root.file], [platform.name, platform.file]]
  for (const [name, file] of stored) {
    const place = path.join(store, name, "node_modules", name)
    fs.mkdirSync(place, {recursive: true})
    await execute("tar", ["-xzf", file, "--strip-components=1", "-C", place])
  }
  const linked = path.join(store, "rollbridge", "node_modules", platform.name)
  fs.symlinkSync(path.join("..", "..", platform.name, "node_modules", platform.name), linked)
  fs.symlinkSync(path.join(".pnpm", "rollbridge", "node_modules", "rollbridge"), path.join(folder, "node_modules", "rollbridge"))
}

module.exports = {install, linkLikePnpm, packed, run, strangersEnvironment}
