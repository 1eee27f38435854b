// The singleton: ticks on where the one before it stopped, and complains if that one is still there.

import {readFileSync, writeFileSync} from "node:fs"
import {join} from "node:path"
import {openLedger} from "./ledger.mjs"

const record = openLedger("ticks")
const complain = openLedger("complaints")
const marker = join(String(process.env.LEDGER), "scheduler")

/** @param {string} file */
function contentOf(file) {
  try {
    return readFileSync(file, "utf8")
  } catch {
    return ""
  }
}

/** State and start time of a process: what identifies it, and whether it is a zombie. @param {string | number} pid */
function statOf(pid) {
  const stat = contentOf(`/proc/${pid}/stat`)
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return {isAlive: stat !== "" && !"ZX".includes(fields[0]), startedAt: fields[19]}
}

const [previous, startedAt] = contentOf(marker).split(" ")
const other = statOf(previous || "none")
if (previous && other.isAlive && other.startedAt === startedAt) {
  complain("scheduler", process.pid, "began while", previous, "lived")
}
writeFileSync(marker, `${process.pid} ${statOf(process.pid).startedAt}`)

const ticks = contentOf(join(String(process.env.LEDGER), "ticks")).trim().split("\n")
let tick = Number(ticks.at(-1)?.split(" ")[0] ?? 0)
const timer = setInterval(() => {
  tick += 1
  record(tick, process.pid)
}, 100)
process.on("SIGTERM", () => clearInterval(timer))
