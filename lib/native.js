"use strict"

// Where the native parts are: in a checkout what scripts/build.mjs made, otherwise the platform package that npm
// installed beside this one. Nothing here loads or runs them.

const fs = require("node:fs")
const path = require("node:path")

const packageFolder = path.dirname(__dirname)
const {version} = require("../package.json")

/** Only a checkout builds its own native parts; beside an installed package, such files are somebody else's. */
const isCheckout = fs.existsSync(path.join(packageFolder, "Cargo.toml"))

/** The platforms that have a package under npm/. */
const targets = [
  "linux-x64-gnu",
  "linux-arm64-gnu",
  "linux-x64-musl",
  "linux-arm64-musl",
  "darwin-x64",
  "darwin-arm64"
]

/** This platform as the platform packages are named: `linux-x64-gnu`, `darwin-arm64`, … */
function currentTarget() {
  const {platform, arch} = process
  if (platform !== "linux") return `${platform}-${arch}`
  return `${platform}-${arch}-${usesGlibc() ? "gnu" : "musl"}`
}

function usesGlibc() {
  // Which loader Node names in its first bytes. A report knows as well, and takes ten times as long.
  const beginning = beginningOfNode()
  if (beginning.includes("/ld-linux")) return true
  if (beginning.includes("/ld-musl-")) return false
  // Without this the report resolves the names of all open connections, which can take seconds.
  const report = Object.assign(process.report, {excludeNetwork: true})
  const {header} = /** @type {{header: {glibcVersionRuntime?: string}}} */ (report.getReport())
  return header.glibcVersionRuntime !== undefined
}

/** The first bytes of the program that runs, also where its file has been replaced since; none where /proc is missing. */
function beginningOfNode() {
  const beginning = Buffer.alloc(2048)
  try {
    const file = fs.openSync("/proc/self/exe", "r")
    fs.readSync(file, beginning)
    fs.closeSync(file)
  } catch {
    // Then the report tells.
  }
  return beginning
}

/** The one sentence a Windows user gets, whatever was started. */
function assertSupportedPlatform() {
  if (process.platform === "win32") {
    throw new Error(
      "rollbridge does not run on Windows: it needs Unix sockets and process groups. Use Linux, macOS or WSL 2"
    )
  }
}

/** The path of the Node addon for this platform. */
function findAddon() {
  assertSupportedPlatform()
  const target = currentTarget()
  const fileName = `rollbridge.${target}.node`
  const built = path.join(packageFolder, fileName)
  return isCheckout && fs.existsSync(built) ? built : findInPlatformPackage(target, fileName)
}

/**
 * The path of the native binary: `ROLLBRIDGE_BINARY`, else the newest one cargo built in this checkout, else the one
 * of the platform package.
 */
function findBinary() {
  assertSupportedPlatform()
  const chosen = process.env.ROLLBRIDGE_BINARY
  if (chosen) {
    if (fs.existsSync(chosen)) return path.resolve(chosen)
    throw new Error(`ROLLBRIDGE_BINARY names ${chosen}, which does not exist. Correct the path or unset the variable`)
  }
  return newestBuiltBinary() ?? findInPlatformPackage(currentTarget(), "rollbridge")
}

function newestBuiltBinary() {
  if (!isCheckout) return undefined
  /** @type {{file: string, builtAtMs: number} | undefined} */
  let newest
  for (const profile of ["debug", "release", "dist"]) {
    const file = cargoOutput(profile, "rollbridge")
    const builtAtMs = fs.statSync(file, {throwIfNoEntry: false})?.mtimeMs
    if (builtAtMs !== undefined && (newest === undefined || builtAtMs > newest.builtAtMs)) newest = {file, builtAtMs}
  }
  return newest?.file
}

/**
 * Where cargo puts a file it builds in this checkout.
 *
 * @param {string} profile
 * @param {string} fileName
 */
function cargoOutput(profile, fileName) {
  return path.join(path.resolve(packageFolder, process.env.CARGO_TARGET_DIR ?? "target"), profile, fileName)
}

/**
 * @param {string} target
 * @param {string} fileName
 */
function findInPlatformPackage(target, fileName) {
  const packageName = `rollbridge-${target}`
  let found
  try {
    found = require.resolve(`${packageName}/${fileName}`)
  } catch (cause) {
    throw new Error(missingPackageMessage(packageName, target), {cause})
  }
  const installed = require(`${packageName}/package.json`).version
  if (installed === version) return found
  throw new Error(
    `the package rollbridge has version ${version}, but its native parts in ${packageName} have version ${installed}: ` +
      "delete node_modules and run npm install again"
  )
}

/**
 * @param {string} packageName
 * @param {string} target
 */
function missingPackageMessage(packageName, target) {
  if (!targets.includes(target)) {
    return `rollbridge has no native parts for ${target}; there are some for ${targets.join(", ")}`
  }
  const foreign = targets.filter((other) => isInstalled(`rollbridge-${other}`))
  const instead = foreign.length > 0 ? ` (but rollbridge-${foreign.join(", rollbridge-")} is)` : ""
  return [
    `the package ${packageName}, which holds the native parts of rollbridge for this platform (${target}), ` +
      `is not installed${instead}`,
    "Usual causes:",
    "  - optional dependencies were left out (npm --omit=optional or --no-optional): install without that option",
    "  - node_modules was copied from another platform, or the lock file was made on one by an old npm:",
    "    delete node_modules and run npm install again on this machine",
    "  - this is a checkout of the source that was not built yet: run npm run build"
  ].join("\n")
}

/** @param {string} packageName */
function isInstalled(packageName) {
  try {
    return Boolean(require.resolve(`${packageName}/package.json`))
  } catch {
    return false
  }
}

module.exports = {cargoOutput, currentTarget, findAddon, findBinary, targets}
