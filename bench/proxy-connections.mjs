// What connections cost that nobody talks on, and whether a deploy leaves them alone.

import {mkdtempSync, rmSync} from "node:fs"
import {tmpdir} from "node:os"
import {join} from "node:path"
import {setTimeout as wait} from "node:timers/promises"
import {createRequire} from "node:module"
import {endContenders, nodeApplication, startContenders, startRollbridge} from "./proxy/contenders.mjs"
import {descriptors, memoryBytes} from "./proxy/process.mjs"
import {openKeptAlive, openWebSockets} from "./proxy/sockets.mjs"

const {freePortRange} = createRequire(import.meta.url)("../tests/support/free-ports.js")

const othersCount = 2000

/** @param {import("./proxy/figure.mjs").Options} options */
export async function measure({quick}) {
  // Each pair needs two descriptors of the proxy.
  const pairs = Math.min(quick ? 1000 : 10_000, Math.floor(descriptors / 2) - 200)
  const pairBytes = await memory(pairs, openWebSockets)
  const keptBytes = await memory(pairs, openKeptAlive)
  const how = (/** @type {string} */ what) => {
    return `growth of anonymous resident memory over ${pairs} ${what}, of the others ${othersCount}`
  }
  return [
    {
      what: "user memory per idle WebSocket pair", value: pairBytes.rollbridge, unit: "KB", goal: 2,
      how: how("WebSockets that have echoed once"), beside: pairBytes, in: "KB"
    },
    {
      what: "user memory per idle keep-alive connection", value: keptBytes.rollbridge, unit: "KB", goal: 1.5,
      how: how("connections that have been answered once"), beside: keptBytes, in: "KB"
    },
    await deployUnder(pairs)
  ]
}

/**
 * Kilobytes for each connection of each contender. They are started for this alone, because memory that others have left
 * behind would be used again.
 *
 * @param {number} count
 * @param {typeof openWebSockets} open
 */
async function memory(count, open) {
  const folder = mkdtempSync(join(tmpdir(), "rollbridge-bench-"))
  const contenders = await startContenders(folder, {application: nodeApplication, connections: count})
  try {
    /** @type {Record<string, number>} */
    const found = {}
    for (const {name, port, pid} of contenders) {
      // The others for comparison only; they run out of descriptors earlier.
      const each = name === "rollbridge" ? count : Math.min(count, othersCount)
      if (pid) found[name] = await memoryOf(pid, port, each, open) / 1024
    }
    return found
  } finally {
    await endContenders(contenders)
    rmSync(folder, {recursive: true, force: true})
  }
}

/**
 * @param {number} pid
 * @param {number} port
 * @param {number} count
 * @param {typeof openWebSockets} open
 */
async function memoryOf(pid, port, count, open) {
  // What grows with the first connections and stays is not theirs.
  await (await open(port, 200)).close()
  await wait(500)
  const before = memoryBytes(pid, "RssAnon")
  const opened = await open(port, count)
  await wait(1000)
  const grown = memoryBytes(pid, "RssAnon") - before
  await opened.close()
  await wait(1000)
  return grown / count
}

/**
 * A deploy while the WebSockets are open, which the drain then waits for.
 *
 * @param {number} pairs
 */
async function deployUnder(pairs) {
  const folder = mkdtempSync(join(tmpdir(), "rollbridge-bench-"))
  const command = nodeApplication.command("{{port}}", folder)
  const daemon = await startRollbridge(folder, await freePortRange(8), command, {drainTimeoutMs: 600_000})
  try {
    const sockets = await openWebSockets(daemon.port, pairs)
    await daemon.deploy("second")
    const answered = await sockets.echo()
    const value = pairs - answered
    await sockets.close()
    const how = `${pairs} WebSockets opened before the deploy, each echoes again after it`
    return {what: "WebSockets cut by a deploy", value, unit: "of " + pairs, goal: 0, how}
  } finally {
    await daemon.end()
    rmSync(folder, {recursive: true, force: true})
  }
}
