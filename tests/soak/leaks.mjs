// Very many restarts, deploys and connections, and what the keeper and the engine hold of the system before and after.

import {connect} from "node:net"
import {smallConfig} from "./config.mjs"
import {resourcesOf, zombiesOf} from "./resources.mjs"
import {processesOf, Stage} from "./stage.mjs"

/** How much more memory may be resident afterwards: what an allocator keeps for the next time. */
const sparedKiB = {keeper: 2048, engine: 16_384}
const clients = 50

/** @typedef {{restarts: number, deploys: number, connections: number}} Amounts */
/** @typedef {ReturnType<typeof resourcesOf>} Resources */
/** @typedef {{keeper: Resources, engine: Resources, zombies: number}} Held */

/** Enough that every list and buffer with a limit is full when it is measured for the first time. */
const warmUp = {restarts: 400, deploys: 10, connections: 1000}

/**
 * @param {object} options
 * @param {string} options.binary
 * @param {Amounts} options.amounts
 * @param {(text: string) => void} options.log
 */
export async function leaks({binary, amounts, log}) {
  const stage = new Stage(binary)
  try {
    await stage.open(smallConfig)
    await work(stage, warmUp)
    const before = await atRest(stage)
    log(`before: ${JSON.stringify(before)}`)
    /** @type {string[]} */
    const findings = []
    for (const [what, count] of Object.entries(amounts)) {
      const began = performance.now()
      await work(stage, {restarts: 0, deploys: 0, connections: 0, [what]: count})
      const after = await atRest(stage, before)
      log(`after ${count} ${what}, in ${Math.round((performance.now() - began) / 1000)} s: ${JSON.stringify(after)}`)
      findings.push(...grown(before, after).map((finding) => `after ${count} ${what}: ${finding}`))
    }
    return findings
  } finally {
    await stage.close(false)
  }
}

/**
 * @param {Stage} stage
 * @param {Amounts} amounts
 */
async function work(stage, {deploys, restarts, connections}) {
  for (let deploy = 0; deploy < deploys; deploy += 1) {
    const request = {command: "deploy", releasePath: stage.folder, releaseId: `r${deploy}`, waitDrained: true}
    succeeds(await stage.ask(request))
  }
  for (let restart = 0; restart < restarts; restart += 2) {
    succeeds(await stage.ask({command: "restart", processId: "sleeper"}))
    await crash(stage)
  }
  let left = connections
  await Promise.all(Array.from({length: clients}, async (_, client) => {
    for (; left > 0; ) {
      left -= 1
      await visit(stage.port, client, left % 4)
    }
  }))
}

/** Kills the sleeper, and waits for the next one. @param {Stage} stage */
async function crash(stage) {
  const {pid} = sleeper(await stage.status())
  process.kill(Number(pid), "SIGKILL")
  const deadline = performance.now() + 60_000
  for (;;) {
    const now = sleeper(await stage.status())
    if (now.state === "running" && now.pid !== pid) return
    if (performance.now() > deadline) throw new Error("the sleeper was not started again")
  }
}

/** @param {any} status */
function sleeper(status) {
  const [found] = processesOf(status).filter(({id}) => id === "sleeper")
  return found
}

/**
 * One connection: asked and closed, asked and reset, never asked, or left in the middle of a request.
 *
 * @param {number} port
 * @param {number} client each has an address of its own, so that there are ports for all
 * @param {number} kind
 * @returns {Promise<void>}
 */
function visit(port, client, kind) {
  return new Promise((resolve, reject) => {
    const socket = connect({port, host: "127.0.0.1", localAddress: `127.0.1.${client + 1}`})
    const timer = setTimeout(() => reject(new Error("a client was not served within 60 s")), 60_000)
    const leave = () => void (kind === 1 ? socket.resetAndDestroy() : socket.destroy())
    socket.on("connect", () => {
      if (kind === 2) leave()
      else socket.write(`GET / HTTP/1.1\r\nhost: soak\r\n${kind === 3 ? "" : "\r\n"}`, () => kind === 3 && leave())
    })
    socket.on("data", leave)
    socket.on("error", () => {})
    socket.on("close", () => {
      clearTimeout(timer)
      resolve()
    })
  })
}

/** @param {{status: string, error?: string}} answer */
function succeeds({status, error}) {
  if (status !== "success") throw new Error(error)
}

/**
 * What is held once nothing is going on: when it is no more than `before`, or does not get less any more.
 *
 * @param {Stage} stage
 * @param {Held} [before]
 * @returns {Promise<Held>}
 */
async function atRest(stage, before) {
  /** @type {Held | undefined} */
  let least
  for (let look = 0; look < (before ? 300 : 60); look += 1) {
    const {engine} = await stage.status()
    const held = {keeper: resourcesOf(stage.keeper), engine: resourcesOf(engine.pid), zombies: zombiesOf(stage.keeper)}
    if (!least || total(held) < total(least)) least = held
    if (before && grown(before, held).length === 0) return held
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return /** @type {Held} */ (least)
}

/** @param {Held} held */
function total({keeper, engine, zombies}) {
  return keeper.descriptors + engine.descriptors + keeper.threads + engine.threads + zombies
}

/**
 * @param {Held} before
 * @param {Held} after
 */
function grown(before, after) {
  const findings = []
  for (const who of /** @type {const} */ (["keeper", "engine"])) {
    for (const what of /** @type {const} */ (["descriptors", "threads"])) {
      if (after[who][what] > before[who][what]) {
        findings.push(`the ${who} has ${after[who][what]} ${what}, and had ${before[who][what]}`)
      }
    }
    const more = after[who].residentKiB - before[who].residentKiB
    if (more > sparedKiB[who]) findings.push(`the ${who} has ${more} KiB more of memory`)
  }
  if (after.zombies > 0) findings.push(`there are ${after.zombies} zombies`)
  return findings
}
