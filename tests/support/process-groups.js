"use strict"

// Which processes of a group are alive. A signal 0 to the group would not tell, because zombies answer it too.

const {execFileSync} = require("node:child_process")
const fs = require("node:fs")

/**
 * The living members of these process groups.
 *
 * @param {Iterable<number>} groups
 * @returns {number[]} their pids
 */
function livingMembers(groups) {
  const wanted = new Set(groups)
  return processes()
    .filter(({group, state}) => wanted.has(group) && !state.startsWith("Z"))
    .map(({pid}) => pid)
}

/** @returns {{pid: number, group: number, state: string}[]} */
function processes() {
  return fs.existsSync("/proc/self/stat") ? processesFromProc() : processesFromPs()
}

function processesFromProc() {
  return fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try {
      const stat = fs.readFileSync(`/proc/${name}/stat`, "utf8")
      // The command name, in parentheses, may itself hold spaces and parentheses.
      const [state, , group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
      return [{pid: Number(name), group: Number(group), state}]
    } catch {
      return [] // It ended between the two calls.
    }
  })
}

function processesFromPs() {
  const lines = execFileSync("ps", ["-A", "-o", "pid=,pgid=,stat="], {encoding: "utf8"}).trim().split("\n")
  return lines.map((line) => {
    const [pid, group, state] = line.trim().split(/\s+/)
    return {pid: Number(pid), group: Number(group), state}
  })
}

module.exports = {livingMembers}
