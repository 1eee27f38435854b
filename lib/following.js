"use strict"

// Events or lines of output as they come, as an async iterable. The native side reads on only when the last line has been
// taken, so a slow consumer holds one line and the daemon decides what it misses.

const {internalError, prepared, resultOf} = require("./exchange.js")
const {RollbridgeError} = require("./error.js")

/** How long a daemon that went away may take to answer again, as when its engine is replaced. */
const returnTimeoutMs = 2000
const retryPauseMs = 50

/**
 * @typedef {object} Source
 * @property {import("./exchange.js").Open} open
 * @property {() => boolean} isOver whether the daemon has ended in good order
 */

/**
 * @typedef {object} Options
 * @property {((missed: number) => void) | null | undefined} [onMissed] told when lines were lost
 * @property {AbortSignal | null | undefined} [signal] ends the iteration with its reason
 */

/** @typedef {{resolve: (result: IteratorResult<any, undefined>) => void, reject: (error: unknown) => void}} Waiting */

/** @implements {AsyncIterableIterator<any>} */
class Following {
  /** @type {import("./addon.js").Request | undefined} */
  #request
  /** Who has asked for a value that is not there yet. @type {Waiting[]} */
  #waiting = []
  /**
   * A line nobody has asked for yet, and what tells the native side that it was taken.
   *
   * @type {{value: any, taken: () => void} | undefined}
   */
  #held
  /** @type {{error?: unknown, value?: any} | undefined} */
  #end
  #started = false
  #fields
  /**
   * Where to go on: after the event with this number, or for each process after its line with this number.
   *
   * @type {number | Record<string, number> | undefined}
   */
  #last
  #source
  #options

  /**
   * @param {() => Promise<Source>} source
   * @param {{command: string} & Record<string, unknown>} request
   * @param {Options} options
   */
  constructor(source, request, options) {
    this.#source = source
    this.#fields = {...request, follow: true}
    this.#options = options
  }

  [Symbol.asyncIterator]() {
    return this
  }

  /** @returns {Promise<IteratorResult<any, undefined>>} */
  next() {
    if (!this.#started) {
      this.#started = true
      this.#run().then(() => this.#finish(), (error) => this.#finish({error}))
    }
    if (this.#held) {
      const {value, taken} = this.#held
      this.#held = undefined
      taken()
      return Promise.resolve({value, done: false})
    }
    if (this.#end) {
      const {error} = this.#end
      const isFailed = "error" in this.#end
      this.#end = {}
      return isFailed ? Promise.reject(error) : Promise.resolve({value: undefined, done: true})
    }
    return new Promise((resolve, reject) => this.#waiting.push({resolve, reject}))
  }

  /** @returns {Promise<IteratorResult<any, undefined>>} */
  async return() {
    this.#started = true
    this.#finish()
    this.#end = {}
    this.#held = undefined
    return {value: undefined, done: true}
  }

  async [Symbol.asyncDispose]() {
    await this.return()
  }

  async #run() {
    const {signal} = this.#options
    signal?.throwIfAborted()
    const abort = () => this.#finish({error: signal?.reason})
    signal?.addEventListener("abort", abort, {once: true})
    try {
      const source = await this.#source()
      await this.#follow(source)
      while (!this.#end && !source.isOver()) await this.#resume(source)
    } finally {
      signal?.removeEventListener("abort", abort)
    }
  }

  /**
   * Follows until the connection is over; any other end is thrown.
   *
   * @param {Source} source
   */
  async #follow({open}) {
    if (this.#end) return
    const fields = this.#last === undefined ? {} : {since: this.#last, limit: undefined}
    this.#request = prepared(open, {...this.#fields, ...fields})
    const answer = await this.#request.answer((line) => this.#take(line)).catch((error) => {
      throw internalError(error)
    })
    if (this.#end) return
    try {
      resultOf(JSON.parse(answer))
    } catch (error) {
      if (!(error instanceof RollbridgeError) || error.code !== "connection_lost") throw error
    }
  }

  /**
   * Goes on where the connection broke. A daemon that does not come back has crashed.
   *
   * @param {Source} source
   */
  async #resume(source) {
    const deadline = performance.now() + returnTimeoutMs
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, retryPauseMs))
      if (this.#end || source.isOver()) return
      try {
        return await this.#follow(source)
      } catch (error) {
        if (!(error instanceof RollbridgeError) || error.code !== "no_daemon") throw error
        if (source.isOver()) return
        if (performance.now() < deadline) continue
        throw new RollbridgeError(
          "the daemon is gone without having shut down; see its log, and start it again",
          "connection_lost",
          {cause: error}
        )
      }
    }
  }

  /**
   * One line from the native side. Never throws: that would end the process.
   *
   * @param {string} line
   */
  async #take(line) {
    if (this.#end) return
    try {
      const {status, origin, ...value} = JSON.parse(line)
      if (status === "lagged") {
        this.#options.onMissed?.(value.missed)
        return
      }
      this.#remember(origin, value.seq)
      const first = this.#waiting.shift()
      if (first) first.resolve({value, done: false})
      else await new Promise((/** @type {(taken?: undefined) => void} */ taken) => (this.#held = {value, taken}))
    } catch (error) {
      this.#finish({error})
    }
  }

  /**
   * @param {string | undefined} origin the process that wrote it, if it is a line of output
   * @param {number} seq
   */
  #remember(origin, seq) {
    if (origin === undefined) this.#last = seq
    else this.#last = {...(typeof this.#last === "object" ? this.#last : {}), [origin]: seq}
  }

  /** @param {{error?: unknown}} [end] */
  #finish(end = {}) {
    if (this.#end) return
    this.#end = end
    this.#request?.abandon()
    // Given back to the native side; an iteration that failed does not go on with what is left.
    if ("error" in end) this.#held = undefined
    const [first, ...rest] = this.#waiting.splice(0)
    if (first && "error" in end) {
      this.#end = {}
      first.reject(end.error)
    } else {
      first?.resolve({value: undefined, done: true})
    }
    for (const {resolve} of rest) resolve({value: undefined, done: true})
  }
}

module.exports = {Following}
