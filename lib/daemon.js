"use strict"

// A daemon inside this process: the same engine as in the binary, with the functions of the package as its methods.

const {addon} = require("./addon.js")
const {requireValidConfig} = require("./config.js")
const {RollbridgeError} = require("./error.js")
const {ask, internalError} = require("./exchange.js")
const {Following} = require("./following.js")
const {findBinary} = require("./native.js")
const requests = require("./requests.js")

/** Those that run are held here, so that they live on when their owner forgets them. @type {Set<Daemon>} */
const running = new Set()

class Daemon {
  #source
  /** @type {import("./addon.js").NativeDaemon} */
  #native
  /** @type {Promise<unknown> | undefined} */
  #starting
  /** Settles once nothing is left of it. @type {Promise<void> | undefined} */
  #ended
  #isOver = false
  /** @type {number | null} */
  #proxyPort = null

  /** @param {string | import("../index.js").RollbridgeConfig} [config] */
  constructor(config) {
    this.#source = config
    this.#native = new (addon().NativeDaemon)()
  }

  get proxyPort() {
    return this.#proxyPort
  }

  async start() {
    if (this.#isOver) throw notRunning("was shut down; make a new one")
    this.#starting ??= this.#start()
    try {
      await this.#starting
    } catch (error) {
      // The next try is a fresh one.
      this.#starting = undefined
      throw error
    }
    return this
  }

  async #start() {
    const {read} = await requireValidConfig(this.#source)
    // A default path would make daemons of the same application collide; who names one wants it.
    const listens = typeof (/** @type {any} */ (read.value).control?.path) === "string"
    const value = JSON.stringify(read.value)
    this.#proxyPort = await this.#native.start(value, read.file, read.folder, findBinary(), listens).catch((error) => {
      throw internalError(error)
    })
    running.add(this)
    this.#ended = this.#native.ended().catch(() => {}).then(() => {
      this.#isOver = true
      running.delete(this)
    })
  }

  /** @param {import("../index.js").DeployOptions} options */
  async deploy(options) {
    const request = requests.deployRequest(options ?? {})
    options.signal?.throwIfAborted()
    await this.#handOver()
    return this.#ask(request, options)
  }

  /** @param {import("../index.js").RollbackOptions} [options] */
  async rollback(options = {}) {
    options.signal?.throwIfAborted()
    await this.#handOver()
    return this.#ask(requests.rollbackRequest(options), options)
  }

  /** @param {import("../index.js").RestartOptions} [options] */
  async restart(options = {}) {
    return this.#ask(requests.restartRequest(options))
  }

  async status() {
    return this.#ask({command: "status"})
  }

  /** @param {import("../index.js").StopOptions} [options] */
  async stop(options = {}) {
    return this.#ask(requests.stopRequest(options))
  }

  /** @param {import("../index.js").ConnectionsOptions} [options] */
  async connections(options = {}) {
    return (await this.#ask(requests.connectionsRequest(options))).connections
  }

  /** @param {import("../index.js").EventsOptions} [options] */
  events({follow, signal, onMissed, ...options} = {}) {
    return this.#listOrFollow("events", requests.eventsRequest(options), follow, {signal, onMissed})
  }

  /** @param {import("../index.js").LogsOptions} [options] */
  logs({follow, signal, onMissed, ...options} = {}) {
    return this.#listOrFollow("logs", requests.logsRequest(options), follow, {signal, onMissed})
  }

  /**
   * @param {string} list the field of the answer
   * @param {requests.Fields} request
   * @param {boolean | null | undefined} follow
   * @param {import("./following.js").Options} options
   */
  #listOrFollow(list, request, follow, options) {
    if (!follow) return this.#ask(request).then((answer) => answer[list])
    const source = async () => ({open: this.#open, isOver: () => this.#isOver})
    return new Following(source, request, options)
  }

  async shutdown() {
    await this.#starting?.catch(() => {})
    if (this.#ended === undefined) {
      this.#isOver = true
      return
    }
    // Whoever comes second finds it ending, or gone: that is what was wanted.
    await this.#ask({command: "shutdown"}).catch(() => {})
    await this.#ended
  }

  async [Symbol.asyncDispose]() {
    await this.shutdown()
  }

  /** The config as it is now goes to the engine before it deploys. */
  async #handOver() {
    if (this.#ended === undefined || this.#isOver) return
    const {read} = await requireValidConfig(this.#source)
    this.#native.handOver(JSON.stringify(read.value), read.file, read.folder)
  }

  /** @type {import("./exchange.js").Open} */
  #open = (requestJson) => {
    const request = this.#native.request(requestJson)
    if (request !== null) return request
    throw notRunning(this.#isOver ? "was shut down" : "is not started; call start() first")
  }

  /**
   * @param {requests.Fields} request
   * @param {import("./exchange.js").Listening} [listening]
   */
  async #ask(request, {onProgress, signal} = {}) {
    return ask(this.#open, request, {onProgress, signal})
  }
}

/** @param {string} why */
function notRunning(why) {
  return new RollbridgeError(`the daemon ${why}`, "no_daemon")
}

module.exports = {Daemon}
