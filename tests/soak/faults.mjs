// What is done to the daemon and its processes. Each fault says what it did, so that the account knows what may have
// broken because of it, and comes back only when the daemon has recovered.

import {closeSync, openSync, readFileSync, rmSync, writeSync} from "node:fs"
import {join} from "node:path"
import {setTimeout as wait} from "node:timers/promises"
import {ConnectionLost} from "./control.mjs"
import {processesOf} from "./stage.mjs"

/**
 * @typedef {object} Deed what may break something
 * @property {string} name "engine killed", "web killed", …
 * @property {number} at
 * @property {number} [over] when it was through, if it took its time
 * @property {number} [pid]
 */

/**
 * @typedef {object} Parts
 * @property {import("./stage.mjs").Stage} stage
 * @property {import("./followers.mjs").Followers} followers
 * @property {import("./load.mjs").Load} load
 * @property {import("./random.mjs").Random} random
 * @property {(text: string) => void} log
 */

export class Faults {
  /** @type {Deed[]} */
  deeds = []
  /** How often each was done. @type {Map<string, number>} */
  done = new Map()
  /** @type {string[]} */
  wrong = []
  /**
   * When which release served for certain; without a release, when that was about to change.
   *
   * @type {{at: number, release?: string}[]}
   */
  serving = []
  /** The longest time until all was as it should be. */
  slowest = {ms: 0, name: ""}
  #stage
  #followers
  #load
  #random
  #releases = 0
  #active = ""
  #log

  /** @param {Parts} parts */
  constructor({stage, followers, load, random, log}) {
    this.#stage = stage
    this.#followers = followers
    this.#load = load
    this.#random = random
    this.#log = log
  }

  /** How many there were. */
  get count() {
    return [...this.done.values()].reduce((sum, times) => sum + times, 0)
  }

  /** The first release; without it nothing serves. */
  async begin() {
    const answer = await this.#deploy("good")
    if (answer?.status !== "success") throw new Error(`the first deploy failed: ${JSON.stringify(answer)}`)
    await this.#settled()
  }

  /** One of them, whichever comes. */
  async one() {
    const name = this.#random.pick(weighted)
    const began = performance.now()
    this.#log(name)
    this.done.set(name, (this.done.get(name) ?? 0) + 1)
    try {
      await this.#doing[name]()
      await this.#settled()
    } catch (error) {
      const cause = error instanceof Error && error.cause ? ` (${error.cause})` : ""
      this.wrong.push(`${name}: ${error instanceof Error ? error.message : error}${cause}`)
    }
    const ms = performance.now() - began
    if (ms > this.slowest.ms) this.slowest = {ms, name}
  }

  /** @type {Record<string, () => Promise<unknown>>} */
  #doing = {
    deploy: () => this.#succeeds(this.#deploy("good")),
    "deploy that fails": () => this.#fails(this.#deploy(this.#random.pick(["exits", "missing"]))),
    "deploy that is cancelled": () => this.#cancelledDeploy(),
    rollback: () => this.#rollback(),
    restart: () => this.#succeeds(this.#stage.ask({command: "restart", processId: this.#random.pick(helpers)})),
    "web process killed": () => this.#kill("web"),
    "helper killed": () => this.#kill(this.#random.pick(helpers)),
    "engine killed": () => this.#killEngine(),
    upgrade: () => this.#succeeds(this.#upgrade()),
    "web process above its memory limit": () => this.#exhaustMemory(),
    "web process paused": () => this.#pause(),
    "disk of the state file full": () => this.#fillDisk(),
    "clock set": async () => this.#stage.clock.set(this.#random.pick(clockShifts)),
    "clock set and engine killed": async () => {
      this.#stage.clock.set(this.#random.pick(clockShifts))
      await this.#killEngine()
    },
    "clock set and upgrade in a deploy": () => this.#together(this.#deploy("good"), () => {
      this.#stage.clock.set(this.#random.pick(clockShifts))
      return this.#upgrade()
    }),
    "engine killed in a deploy": () => this.#together(this.#deploy("good"), () => this.#killEngine()),
    "web process killed in a deploy": () => this.#together(this.#deploy("good"), () => this.#kill("web")),
    "engine killed in an upgrade": () => this.#together(this.#upgrade(), () => this.#killEngine()),
    "engine killed in a rollback": () => this.#together(this.#rollback(), () => this.#killEngine()),
    "upgrade in a deploy": () => this.#together(this.#deploy("good"), () => this.#upgrade()),
    "engine killed twice": async () => {
      await this.#killEngine()
      await wait(this.#random.between(0, 300))
      await this.#killEngine()
    }
  }

  /** @param {string} kind the folder */
  #deploy(kind) {
    this.#releases += 1
    this.#unsettle()
    const releaseId = `r${this.#releases}`
    return this.#ask({command: "deploy", releasePath: this.#stage.releasePath(kind), releaseId})
  }

  async #cancelledDeploy() {
    const deploy = this.#deploy("sick")
    const releaseId = `r${this.#releases}`
    await wait(this.#random.between(0, 1500))
    await this.#stage.until("the deploy begins", async () => {
      const {releases} = await this.#stage.status()
      return releases.some((/** @type {any} */ release) => release.releaseId === releaseId)
    })
    await this.#ask({command: "stop", releaseId})
    await this.#fails(deploy)
  }

  async #rollback() {
    this.#unsettle()
    const answer = await this.#ask({command: "rollback"})
    // There may be nothing left to go back to; then nothing must have changed.
    const harmless = ["no_previous_release", "release_not_found"]
    if (answer?.status === "error" && !harmless.includes(answer.code)) {
      throw new Error(`it was answered by ${answer.code}: ${answer.error}`)
    }
  }

  #upgrade() {
    return this.#ask({command: "upgrade", binary: this.#stage.binary})
  }

  /** @param {string} id */
  async #kill(id) {
    const status = await this.#stage.status()
    const ours = processesOf(status).filter((one) => one.id === id && one.pid && one.state === "running")
    const serving = ours.find(({releaseId, policy}) => releaseId === status.activeReleaseId || policy === "service")
    const pid = serving?.pid ?? ours[0]?.pid
    if (!pid) return
    this.#killNow(id === "web" ? "web killed" : "helper killed", pid)
    await this.#stage.until(`another ${id} runs`, async () => {
      const after = await this.#stage.status()
      const running = processesOf(after).filter((one) => one.id === id && one.state === "running")
      return running.length > 0 && running.every((one) => one.pid !== pid)
    })
  }

  async #killEngine() {
    const {engine: {pid}} = await this.#stage.status()
    this.#killNow("engine killed", pid)
    await this.#stage.until("another engine answers", async () => (await this.#stage.status()).engine.pid !== pid)
  }

  async #exhaustMemory() {
    const web = await this.#web()
    const deed = this.#deed("web process stopped for its memory", web)
    process.kill(web, "SIGUSR2")
    await this.#stage.until("it is started again", async () => (await this.#web()) !== web)
    deed.over = performance.now()
  }

  async #pause() {
    const web = await this.#web()
    process.kill(web, "SIGSTOP")
    await wait(this.#random.between(200, 3000))
    process.kill(web, "SIGCONT")
  }

  async #fillDisk() {
    if (!this.#stage.hasSmallDisk) return
    const file = join(this.#stage.stateFolder, "ballast")
    const ballast = openSync(file, "a")
    const full = this.#count("state file not written")
    try {
      // In smaller and smaller pieces, so that nothing is left.
      for (let size = 16_384; size >= 1; size = Math.floor(size / 2)) fill(ballast, size)
      // Each start is an event, and each event is to be written down.
      await this.#succeeds(this.#stage.ask({command: "restart", processId: "worker"}))
      await this.#stage.until("the daemon says so", () => this.#count("state file not written") > full)
    } finally {
      closeSync(ballast)
      rmSync(file)
    }
    await this.#succeeds(this.#stage.ask({command: "restart", processId: "worker"}))
    await this.#stage.until("the state file is written again", async () => {
      const {activeReleaseId} = JSON.parse(readFileSync(join(this.#stage.stateFolder, "soak.json"), "utf8"))
      return activeReleaseId === (await this.#stage.status()).activeReleaseId
    })
  }

  /** @param {string} message */
  #count(message) {
    return this.#followers.events.filter((event) => event.message === message).length
  }

  /**
   * The first has begun; the second comes some time later. What becomes of the first is not known: it may be done,
   * undone, or refused.
   *
   * @param {Promise<any>} first
   * @param {() => Promise<unknown>} second
   */
  async #together(first, second) {
    await wait(this.#random.between(0, 900))
    await Promise.all([first, second()])
  }

  /**
   * The answer, or nothing when the engine died before it gave one.
   *
   * @param {Record<string, unknown>} request
   */
  async #ask(request) {
    const askedAt = performance.now()
    try {
      return await this.#stage.ask(request)
    } catch (error) {
      const died = this.deeds.some(({name, at}) => name === "engine killed" && at >= askedAt)
      if (error instanceof ConnectionLost && died) return undefined
      throw error
    }
  }

  /** @param {Promise<any>} answer */
  async #succeeds(answer) {
    const {status, code, error} = await answer
    if (status !== "success") throw new Error(`it was answered by ${code}: ${error}`)
  }

  /** @param {Promise<any>} answer */
  async #fails(answer) {
    const {status, code} = await answer
    const expected = ["process_exited", "deploy_cancelled", "release_path_missing"]
    if (status !== "error" || !expected.includes(code)) throw new Error(`it was answered by ${status} ${code}`)
  }

  async #web() {
    const status = await this.#stage.status()
    const serving = processesOf(status).find(({id, releaseId, state}) => {
      return id === "web" && releaseId === status.activeReleaseId && state === "running"
    })
    if (!serving?.pid) throw new Error("the active release has no web process")
    return serving.pid
  }

  /**
   * Kills a process, unless it has ended by itself since it was seen, as an engine does that makes way for another one.
   *
   * @param {string} name
   * @param {number} pid
   */
  #killNow(name, pid) {
    try {
      process.kill(pid, "SIGKILL")
    } catch {
      return
    }
    this.#deed(name, pid)
  }

  /**
   * @param {string} name
   * @param {number} pid
   */
  #deed(name, pid) {
    /** @type {Deed} */
    const deed = {name, at: performance.now(), pid}
    this.deeds.push(deed)
    return deed
  }

  #unsettle() {
    this.serving.push({at: performance.now()})
  }

  /** Resolves when nothing is under way, one release is active, all its processes run, and it is the one that answers. */
  async #settled() {
    await this.#stage.until("a release is active and answers", async () => {
      // What a killed engine had begun, the next one brings to its end; until then this is refused for another reason.
      const {code} = await this.#stage.ask({command: "rollback", releaseId: "never-deployed"})
      if (code !== "release_not_found") return false
      const status = await this.#stage.status()
      this.#followers.look(status)
      const active = status.releases.filter((/** @type {any} */ {state}) => state === "active")
      if (active.length !== 1 || active[0].releaseId !== status.activeReleaseId) return false
      const processes = processesOf({...status, releases: active})
      if (!processes.every(({state}) => state === "running") || processes.length !== 4) return false
      const answer = await fetch(`http://127.0.0.1:${this.#load.port}/echo/settled`, {headers: {connection: "close"}})
      await answer.text()
      this.#active = status.activeReleaseId
      return answer.status === 200 && answer.headers.get("x-release") === this.#active
    })
    if (this.serving.at(-1)?.release === undefined) this.serving.push({at: performance.now(), release: this.#active})
  }
}

/** By how many seconds the clock of the daemon and its processes may differ from the machine's: up to a day, both ways. */
const clockShifts = [-86_400, -3600, 0, 3600, 86_400]

const helpers = ["worker", "scheduler", "broker"]

/** Each as often as it is to come up. */
const weighted = [
  ...times(4, "deploy"), ...times(2, "deploy that fails"), "deploy that is cancelled", ...times(2, "rollback"),
  ...times(2, "restart"), ...times(3, "web process killed"), ...times(2, "helper killed"), ...times(3, "engine killed"),
  ...times(3, "upgrade"), "web process above its memory limit", ...times(2, "web process paused"),
  "disk of the state file full", ...times(2, "engine killed in a deploy"), "web process killed in a deploy",
  "engine killed in an upgrade", "engine killed in a rollback", "upgrade in a deploy", "engine killed twice",
  "clock set", "clock set and engine killed", "clock set and upgrade in a deploy"
]

/**
 * @param {number} count
 * @param {string} name
 */
function times(count, name) {
  return Array.from({length: count}, () => name)
}

/**
 * Writes until nothing fits any more.
 *
 * @param {number} file
 * @param {number} size
 */
function fill(file, size) {
  const piece = Buffer.alloc(size)
  try {
    while (writeSync(file, piece) === size);
  } catch {
    // It is full.
  }
}
