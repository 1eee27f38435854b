// The wall clock of the daemon and of all its processes, which can be set without touching the machine's.

import {execFileSync} from "node:child_process"
import {closeSync, openSync, writeFileSync, writeSync} from "node:fs"
import {join} from "node:path"
import {fileURLToPath} from "node:url"

const source = fileURLToPath(new URL("../support/clock.c", import.meta.url))

export class WallClock {
  /** What a process needs in its environment to have this clock; empty where there is no such clock. */
  environment = {}
  #file
  /** By how many milliseconds it was shifted at any time; they differ by an hour at least. */
  #shifts = new Set([0])

  /** @param {string} folder */
  constructor(folder) {
    this.#file = join(folder, "clock-offset")
    writeFileSync(this.#file, Buffer.alloc(8))
    if (process.platform !== "linux") return
    const library = join(folder, "clock.so")
    execFileSync("cc", ["-shared", "-fPIC", "-O2", "-o", library, source])
    this.environment = {LD_PRELOAD: library, WALL_CLOCK_OFFSET: this.#file}
  }

  /** @param {number} seconds by how much it shows more than the machine's */
  set(seconds) {
    const bytes = new BigInt64Array([BigInt(seconds)])
    const file = openSync(this.#file, "r+")
    // In one piece, and in place: the processes have the file in their memory.
    writeSync(file, bytes, 0, bytes.byteLength, 0)
    closeSync(file)
    this.#shifts.add(seconds * 1000)
  }

  /**
   * When something was by the machine's clock: of the moments that may be meant, the one nearest to when it was heard of.
   *
   * @param {string} shown by this clock
   * @param {number} heardAt by the machine's
   */
  machineTime(shown, heardAt) {
    const moments = [...this.#shifts].map((ms) => Date.parse(shown) - ms)
    const distance = (/** @type {number} */ moment) => Math.abs(moment - heardAt)
    return moments.reduce((nearest, moment) => (distance(moment) < distance(nearest) ? moment : nearest))
  }
}
