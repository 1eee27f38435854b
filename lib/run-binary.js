"use strict"

// What is done beside a daemon (starting one, checking the machine, cleaning up) is done by the native binary: the
// commands exist once, and their system calls never hold up this process.

const {spawn} = require("node:child_process")
const fs = require("node:fs")
const os = require("node:os")
const path = require("node:path")
const {readConfig} = require("./config.js")
const {RollbridgeError} = require("./error.js")
const {foreignProgram} = require("./foreign-program.js")
const {findBinary} = require("./native.js")

/** What the exit statuses of the binary mean, where it said nothing more precise. */
const codes = /** @type {Record<number, string>} */ ({3: "no_daemon", 4: "connection_lost"})

/**
 * Runs a command of the binary and resolves to the JSON it prints.
 *
 * @param {unknown} config
 * @param {string} command
 * @param {string[]} args
 * @returns {Promise<any>}
 */
async function runBinary(config, command, args) {
  if (typeof config !== "object" || config === null) {
    const named = config === undefined || config === null ? [] : ["--config", String(config)]
    return resultOf(command, await run([command, ...named, ...args]))
  }
  const folder = await fs.promises.mkdtemp(path.join(os.tmpdir(), "rollbridge-config-"))
  try {
    const file = path.join(folder, "rollbridge.json")
    await fs.promises.writeFile(file, JSON.stringify(await standalone(config)), {mode: 0o600})
    return resultOf(command, await run([command, "--config", file, ...args]))
  } finally {
    await fs.promises.rm(folder, {recursive: true, force: true})
  }
}

/**
 * A config object as it would be in a file of another folder: what its place decides is written out.
 *
 * @param {object} config
 */
async function standalone(config) {
  const {value, problems} = await readConfig(config)
  if (problems.length > 0) throw new TypeError("config holds values that JSON cannot hold; validateConfig names them")
  const {application, control, statePath, ...others} = /** @type {Record<string, any>} */ (value)
  const absolute = (/** @type {unknown} */ file) => (typeof file === "string" ? path.resolve(file) : file)
  return {
    ...others,
    application: application ?? path.basename(process.cwd()),
    control: control && {...control, path: absolute(control.path)},
    statePath: absolute(statePath)
  }
}

/**
 * @param {string[]} args
 * @returns {Promise<{status: number | null, signal: string | null, stdout: string, stderr: string}>}
 */
function run(args) {
  return new Promise((resolve, reject) => {
    const env = {...process.env, ROLLBRIDGE_NODE: process.execPath}
    const binary = findBinary()
    const foreign = foreignProgram(binary)
    if (foreign !== undefined) throw new RollbridgeError(`cannot run ${binary}: ${foreign}`, "internal")
    const child = spawn(binary, args, {env, stdio: ["ignore", "pipe", "pipe"]})
    const said = {stdout: "", stderr: ""}
    child.stdout.setEncoding("utf8").on("data", (chunk) => (said.stdout += chunk))
    child.stderr.setEncoding("utf8").on("data", (chunk) => (said.stderr += chunk))
    child.on("error", (error) => reject(new RollbridgeError(`cannot run the binary: ${error.message}`, "internal")))
    child.on("close", (status, signal) => resolve({status, signal, ...said}))
  })
}

/**
 * A report may come with an exit status that says it is a bad one; what cannot be reported is an error.
 *
 * @param {string} command
 * @param {{status: number | null, signal: string | null, stdout: string, stderr: string}} ended
 */
function resultOf(command, {status, signal, stdout, stderr}) {
  const printed = parsed(stdout)
  if (printed !== undefined) {
    const {error, code, ...result} = printed
    delete result.status
    if (error === undefined) return result
    throw new RollbridgeError(error, code, result)
  }
  const message = stderr.trim().replace(/^rollbridge: /m, "") || `rollbridge ${command} ended with ${signal ?? status}`
  throw new RollbridgeError(message, codes[status ?? 1] ?? "internal")
}

/**
 * @param {string} text
 * @returns {Record<string, any> | undefined}
 */
function parsed(text) {
  try {
    const value = JSON.parse(text)
    return typeof value === "object" && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

module.exports = {runBinary}
