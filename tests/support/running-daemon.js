"use strict"

// A real daemon: the native binary as a child, its log in a file. It is always ended again, by its pid.

const {spawn} = require("node:child_process")
const fs = require("node:fs")
const {livingMembers} = require("./process-groups.js")
const {waitUntil} = require("./wait-until.js")
const {findBinary} = require("../../lib/native.js")
const rollbridge = require("../../index.js")

const stopTimeoutMs = 15_000

class RunningDaemon {
  /** Process groups seen in the daemon's status. @type {Set<number>} */
  groups = new Set()
  #child
  #exited

  /** @param {{configPath: string, logPath: string, env?: NodeJS.ProcessEnv}} options */
  constructor({configPath, logPath, env = process.env}) {
    this.configPath = configPath
    this.logPath = logPath
    const log = fs.openSync(logPath, "a")
    this.#child = spawn(findBinary(), ["daemon", "--config", configPath], {env, stdio: ["ignore", log, log]})
    fs.closeSync(log)
    /** @type {Promise<string>} */
    this.#exited = new Promise((resolve) => {
      this.#child.once("error", (error) => resolve(error.message))
      this.#child.once("exit", (status, signal) => resolve(signal ?? `exit status ${status}`))
    })
  }

  get pid() {
    return this.#child.pid
  }

  /** Resolves once the daemon answers. */
  async ready() {
    /** @type {string | undefined} */
    let ended
    this.#exited.then((how) => {
      ended = how
    })
    await waitUntil("the daemon", async () => ended ?? (await this.status()))
    if (ended !== undefined) {
      throw new Error(`the daemon ended before it was ready (${ended}); its log:\n${this.log()}`)
    }
    return this
  }

  /** The daemon's status; remembers the process groups in it. */
  async status() {
    const status = await rollbridge.status({config: this.configPath})
    const processes = [
      ...status.releases.flatMap((release) => release.processes),
      ...[...status.services, ...status.singletons].map((shared) => shared.process)
    ]
    // Each managed process leads a group of its own.
    for (const {pid} of processes) if (pid !== null) this.groups.add(pid)
    return status
  }

  /** How the daemon ended, once it has. */
  exited() {
    return this.#exited
  }

  /** What is still alive of everything this daemon was seen to run. */
  leftovers() {
    return livingMembers(this.groups)
  }

  log() {
    return fs.readFileSync(this.logPath, "utf8")
  }

  /** Ends the daemon if it still runs: politely, then by force together with what it left behind. */
  async end() {
    this.#child.kill("SIGTERM")
    const timeout = setTimeout(() => this.#child.kill("SIGKILL"), stopTimeoutMs)
    await this.#exited
    clearTimeout(timeout)
    for (const pid of this.leftovers()) {
      try {
        process.kill(pid, "SIGKILL")
      } catch {
        // It ended by itself in the meantime.
      }
    }
  }
}

module.exports = {RunningDaemon}
