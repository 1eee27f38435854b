// What the keeper and the engine hold of the system.

import {readFileSync, readdirSync} from "node:fs"

/**
 * @param {number} pid
 * @returns {{descriptors: number, threads: number, residentKiB: number}}
 */
export function resourcesOf(pid) {
  const status = readFileSync(`/proc/${pid}/status`, "utf8")
  const field = (/** @type {string} */ name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1])
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: field("Threads"),
    residentKiB: field("VmRSS")
  }
}

/** The zombies among the children of a process. @param {number} parent */
export function zombiesOf(parent) {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).filter((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
      const [state, itsParent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
      return state === "Z" && Number(itsParent) === parent
    } catch {
      return false
    }
  }).length
}

/** What tells a process from a later one with the same pid; empty when there is none, or a zombie. @param {number} pid */
export function startOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return "ZX".includes(fields[0]) ? "" : fields[19]
  } catch {
    return ""
  }
}
