// Processes that are measured: how they are started, and what the kernel tells about them.

import {execFile, spawn, spawnSync} from "node:child_process"
import {once} from "node:events"
import {readFileSync, readdirSync, readlinkSync} from "node:fs"
import {cpus} from "node:os"
import {delimiter} from "node:path"
import {promisify} from "node:util"

/** What a proxy may use, so that no contender gets more than another. The application and the load may use every CPU. */
export const lastCpu = cpus().length - 1

/** Where Debian keeps servers is not in everybody's PATH. */
export const env = {...process.env, PATH: `${process.env.PATH}${delimiter}/usr/sbin`}

const {stdout: hardLimit} = spawnSync("sh", ["-c", "ulimit -Hn"], {encoding: "utf8"})

/** Open files each process that is started here may have. */
export const descriptors = Math.min(65_536, Number(hardLimit) || 65_536)

/**
 * @typedef {object} Started
 * @property {number} pid
 * @property {import("node:child_process").ChildProcess} child
 * @property {() => Promise<void>} end
 */

/**
 * Starts a command. Its standard input is a pipe that stays open.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{cpu?: number, signal?: NodeJS.Signals}} [options] the only CPU it may use; how it is ended
 * @returns {Started}
 */
export function start(command, args, {cpu, signal = "SIGKILL"} = {}) {
  const pinned = cpu === undefined ? [command, ...args] : ["taskset", "-c", String(cpu), command, ...args]
  // Shell and taskset become the command, so the pid is its own.
  const script = `ulimit -n ${descriptors}; exec "$@"`
  const child = spawn("sh", ["-c", script, "sh", ...pinned], {stdio: ["pipe", "ignore", "ignore"], env})
  child.stdin?.on("error", () => {})
  const ended = once(child, "exit")
  const end = async () => {
    child.kill(signal)
    await ended
  }
  return {pid: /** @type {number} */ (child.pid), child, end}
}

/**
 * The process and those it has started from the same program: Rollbridge's keeper has an engine.
 *
 * @param {number} pid
 * @returns {number[]}
 */
export function family(pid) {
  const program = (/** @type {number} */ of) => {
    try {
      return readlinkSync(`/proc/${of}/exe`)
    } catch {
      return undefined
    }
  }
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number)
  return [pid, ...children.filter((child) => program(child) === program(pid))]
}

/**
 * Time all threads of the processes have spent on a CPU, in microseconds.
 *
 * @param {number} pid
 */
export function cpuMicroseconds(pid) {
  let sum = 0
  for (const member of family(pid)) {
    for (const thread of readdirSync(`/proc/${member}/task`)) {
      sum += Number(readFileSync(`/proc/${member}/task/${thread}/schedstat`, "utf8").split(" ")[0]) / 1000
    }
  }
  return sum
}

/**
 * Memory of the processes in bytes: all that is resident, or only what is not backed by files, which is what grows.
 *
 * @param {number} pid
 * @param {"VmRSS" | "RssAnon"} kind
 */
export function memoryBytes(pid, kind = "VmRSS") {
  return family(pid).reduce((sum, member) => {
    const kilobytes = new RegExp(`${kind}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${member}/status`, "utf8"))
    return sum + Number(kilobytes?.[1]) * 1024
  }, 0)
}

/**
 * @param {string} command
 * @param {string} option
 */
export function version(command, option) {
  const {stdout, stderr} = spawnSync(command, [option], {encoding: "utf8", env})
  return /\d+\.\d+[\w.-]*/.exec(`${stdout}${stderr}`)?.[0] ?? "unknown"
}

/** Runs a command to its end. @param {string} command @param {string[]} args */
export function run(command, args) {
  return promisify(execFile)(command, args, {env})
}
