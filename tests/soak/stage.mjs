// The place of a run: folders, releases that work and releases that do not, the config, and the daemon itself.

import {execFileSync, spawn} from "node:child_process"
import {existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, realpathSync, rmSync, writeFileSync} from "node:fs"
import {createServer} from "node:net"
import {tmpdir} from "node:os"
import {join} from "node:path"
import {setTimeout as wait} from "node:timers/promises"
import {fileURLToPath} from "node:url"
import {WallClock} from "./clock.mjs"
import {ask} from "./control.mjs"
import {startOf} from "./resources.mjs"

const application = fileURLToPath(new URL("application", import.meta.url))
const stateBytes = 256 * 1024

/** @typedef {{id: string, pid: number | null, state: string, policy: string, releaseId: string | null}} Managed */

export class Stage {
  folder = mkdtempSync(join(realpathSync(tmpdir()), "rollbridge-soak-"))
  ledger = join(this.folder, "ledger")
  socket = join(this.folder, "control.sock")
  stateFolder = join(this.folder, "state")
  log = join(this.folder, "daemon.log")
  clock = new WallClock(this.folder)
  /** Whether the state file is on a file system of its own, that can be filled. */
  hasSmallDisk = false
  port = 0
  /** Every process seen, with its start, so that none is left behind. @type {Map<number, string>} */
  seen = new Map()
  /** @type {import("node:child_process").ChildProcess | undefined} */
  #daemon
  /** @type {Promise<string>} */
  #ended = Promise.resolve("never started")
  #binary

  /** @param {string} binary */
  constructor(binary) {
    this.#binary = binary
  }

  get binary() {
    return this.#binary
  }

  get keeper() {
    return Number(this.#daemon?.pid)
  }

  /** Resolves to how the daemon ended. */
  get ended() {
    return this.#ended
  }

  /** @param {(stage: Stage, ports: number[]) => object} config made from two free ports */
  async open(config) {
    for (const folder of [this.ledger, this.stateFolder]) mkdirSync(folder)
    this.hasSmallDisk = mountSmallDisk(this.stateFolder)
    this.#release("good", `await import(${JSON.stringify(application)} + "/" + process.argv[2] + ".mjs")`)
    this.#release("exits", "process.exit(process.argv[2] === 'web' ? 3 : 0)")
    this.#release("sick", "setInterval(() => {}, 1000)")
    const ports = await freePorts(2)
    this.port = ports[0]
    writeFileSync(join(this.folder, "rollbridge.json"), JSON.stringify(config(this, ports)))
    this.#start()
    await this.until("the daemon answers", async () => (await this.ask({command: "status"})).status === "success")
  }

  /** @param {string} name */
  releasePath(name) {
    return join(this.folder, "releases", name)
  }

  /**
   * @param {Record<string, unknown>} request
   * @param {number} [timeoutMs]
   */
  ask(request, timeoutMs) {
    return ask(this.socket, request, timeoutMs)
  }

  async status() {
    const status = await this.ask({command: "status"})
    for (const {pid} of processesOf(status)) if (pid !== null) this.seen.set(pid, startOf(pid))
    return status
  }

  /**
   * Asks again and again; what `condition` throws counts as "not yet".
   *
   * @param {string} what
   * @param {() => unknown} condition
   * @param {number} [timeoutMs]
   */
  async until(what, condition, timeoutMs = 60_000) {
    const deadline = performance.now() + timeoutMs
    let problem
    while (performance.now() < deadline) {
      try {
        if (await condition()) return
      } catch (error) {
        problem = error
      }
      await wait(50)
    }
    throw new Error(`not within ${timeoutMs} ms: ${what}`, {cause: problem})
  }

  /** The lines of one ledger, without one that a killed process has left unfinished. @param {string} name */
  linesOf(name) {
    const file = join(this.ledger, name)
    return existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : []
  }

  /** Ends what is left, and removes the folder unless somebody wants to look at it. @param {boolean} keepsFolder */
  async close(keepsFolder) {
    this.#daemon?.kill("SIGTERM")
    const timer = setTimeout(() => this.#daemon?.kill("SIGKILL"), 60_000)
    await this.#ended
    clearTimeout(timer)
    if (this.hasSmallDisk) execFileSync("umount", [this.stateFolder])
    if (!keepsFolder) rmSync(this.folder, {recursive: true, force: true})
  }

  #start() {
    const log = openSync(this.log, "a")
    const args = ["daemon", "--config", join(this.folder, "rollbridge.json")]
    const env = {...process.env, ...this.clock.environment}
    this.#daemon = spawn(this.#binary, args, {stdio: ["ignore", log, log], env})
    const daemon = this.#daemon
    this.#ended = new Promise((resolve) => {
      daemon.once("error", (error) => resolve(error.message))
      daemon.once("exit", (status, signal) => resolve(signal ?? `exit status ${status}`))
    })
  }

  /**
   * @param {string} name
   * @param {string} program
   */
  #release(name, program) {
    mkdirSync(this.releasePath(name), {recursive: true})
    writeFileSync(join(this.releasePath(name), "main.mjs"), program)
  }
}

/**
 * Every process of a status.
 *
 * @param {any} status
 * @returns {Managed[]}
 */
export function processesOf(status) {
  const shared = [...status.services, ...status.singletons].map((/** @type {any} */ {process}) => process)
  return [...status.releases.flatMap((/** @type {any} */ {processes}) => processes), ...shared]
}

/** A file system that is soon full; only root can have one. @param {string} folder */
function mountSmallDisk(folder) {
  if (process.getuid?.() !== 0) return false
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${stateBytes}`, "soak", folder], {stdio: "ignore"})
    return true
  } catch {
    return false
  }
}

/** @param {number} count */
async function freePorts(count) {
  const servers = Array.from({length: count}, () => createServer())
  const ports = []
  for (const server of servers) {
    await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)))
    ports.push(/** @type {import("node:net").AddressInfo} */ (server.address()).port)
  }
  for (const server of servers) server.close()
  return ports
}
