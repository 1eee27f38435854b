// Two clients that follow the daemon all the time: what they are told must have no gap and no repeat, whatever happens
// to the engine they talk to.

import {follow} from "./control.mjs"

export class Followers {
  /** @type {{seq: number, at: string, message: string, data: any, heardAt: number}[]} */
  events = []
  lines = 0
  /** @type {string[]} */
  wrong = []
  #stage
  #over = false
  #lastEvent = 0
  /** @type {Promise<void>[]} */
  #following = []

  /** @param {import("./stage.mjs").Stage} stage */
  constructor(stage) {
    this.#stage = stage
  }

  start() {
    const isOver = () => this.#over
    const socket = this.#stage.socket
    const events = () => ({command: "events", follow: true, since: this.#lastEvent})
    this.#following = [follow(socket, events, (line) => this.#event(line), isOver)]
  }

  async end() {
    this.#over = true
    await Promise.all(this.#following)
  }

  /** @param {any} line */
  #event({status, seq, at, message, data, missed}) {
    if (status === "lagged") this.wrong.push(`events: ${missed} missed`)
    if (status !== "event") return
    if (seq !== this.#lastEvent + 1) this.wrong.push(`events: ${seq} came after ${this.#lastEvent}`)
    this.#lastEvent = seq
    this.events.push({seq, at, message, data, heardAt: Date.now()})
  }

  /**
   * The lines a status shows of the web processes: each wrote its own numbers, one after the other.
   *
   * @param {any} status
   */
  look(status) {
    for (const release of status.releases) {
      for (const {id, pid, logs} of release.processes) {
        if (id !== "web" || pid === null) continue
        this.#readLines(logs)
      }
    }
  }

  /** @param {{stream: string, line: string, seq: number}[]} logs */
  #readLines(logs) {
    let previous = 0
    for (const {stream, line} of logs) {
      const number = Number(/^line (\d+)$/.exec(line)?.[1])
      if (stream !== "stdout" || !number) continue
      // A process that was started again begins at 1.
      if (previous !== 0 && number !== previous + 1 && number !== 1) {
        this.wrong.push(`a process wrote line ${number}, and before it, as status says, ${previous}`)
      }
      previous = number
      this.lines += 1
    }
  }
}
