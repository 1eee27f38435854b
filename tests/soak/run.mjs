// One run: load and faults side by side for as long as was asked, then the end of everything, and the account.

import {setTimeout as wait} from "node:timers/promises"
import {existsSync} from "node:fs"
import {account} from "./account.mjs"
import {soakConfig} from "./config.mjs"
import {Faults} from "./faults.mjs"
import {Followers} from "./followers.mjs"
import {Load} from "./load.mjs"
import {Random} from "./random.mjs"
import {resourcesOf, startOf, zombiesOf} from "./resources.mjs"
import {RudeClients} from "./rude.mjs"
import {Stage} from "./stage.mjs"
import {Tunnels} from "./tunnels.mjs"

const longestPauseMs = 5000

/**
 * @param {object} options
 * @param {string} options.binary
 * @param {number} options.seconds
 * @param {number} [options.leastFaults] goes on until there were so many, however slow the machine is
 * @param {number} options.seed
 * @param {boolean} options.keepsFolder leaves the folder there after a run with findings
 * @param {(text: string) => void} options.log
 */
export async function soak({binary, seconds, leastFaults = 0, seed, keepsFolder, log}) {
  const random = new Random(seed)
  const stage = new Stage(binary)
  await stage.open(soakConfig)
  const followers = new Followers(stage)
  const load = new Load(stage.port, random.fork())
  const tunnels = new Tunnels(load, random.fork())
  const rude = new RudeClients(load, random.fork())
  const faults = new Faults({stage, followers, load, random: random.fork(), log: (text) => log(`${since()}  ${text}`)})
  const began = performance.now()
  const since = () => `${Math.round((performance.now() - began) / 1000)} s`.padStart(7)
  /** @type {string[]} */
  const findings = []
  let isOver = false
  try {
    followers.start()
    await faults.begin()
    const before = {keeper: resourcesOf(stage.keeper), engine: resourcesOf((await stage.status()).engine.pid)}
    load.start()
    tunnels.start()
    rude.start()
    const deadline = began + seconds * 1000
    const pauses = random.fork()
    let told = began
    while ((performance.now() < deadline || faults.count < leastFaults) && !isOver) {
      const from = performance.now()
      await faults.one()
      if (performance.now() - told > 60_000) {
        told = performance.now()
        const broken = load.broken.length + rude.broken.length
        const amiss = [...faults.wrong, ...load.wrong, ...tunnels.wrong, ...followers.wrong]
        log(`${since()}  == ${load.total} requests, ${broken} broken, ${tunnels.messages} messages; amiss: ${amiss.length}`)
        for (const one of amiss.slice(0, 5)) log(`         ${one}`)
      }
      await wait(Math.max(0, from + pauses.between(500, longestPauseMs) - performance.now()))
    }
    isOver = true
    const ms = performance.now() - began
    await load.end()
    findings.push(...await restAmiss(stage, before))
    const after = {keeper: resourcesOf(stage.keeper), engine: resourcesOf((await stage.status()).engine.pid)}
    await followers.end()
    findings.push(...await endAmiss(stage))
    const judged = account({stage, load, tunnels, rude, faults, followers})
    findings.push(...judged.findings)
    const {reasons} = judged
    const parts = {load, tunnels, rude, faults, followers}
    return {...parts, seed, seconds: Math.round(ms / 1000), findings, reasons, before, after, folder: stage.folder}
  } finally {
    await stage.close(keepsFolder && findings.length > 0)
  }
}

/**
 * Once nobody talks any more, everything that was opened is closed again.
 *
 * @param {Stage} stage
 * @param {{keeper: {descriptors: number, threads: number}, engine: {descriptors: number, threads: number}}} before
 */
async function restAmiss(stage, before) {
  /** @type {string} */
  let seen = ""
  try {
    await stage.until("everything is at rest", async () => {
      const status = await stage.status()
      /** @type {{state: string, connectionCount: number}[]} */
      const releases = status.releases
      const open = releases.reduce((sum, {connectionCount}) => sum + connectionCount, 0)
      const draining = releases.filter(({state}) => !["active", "stopped", "failed"].includes(state)).length
      const [keeper, engine] = [resourcesOf(stage.keeper), resourcesOf(status.engine.pid)]
      const zombies = zombiesOf(stage.keeper)
      seen = JSON.stringify({open, draining, zombies, keeper, engine, before})
      // Idle connections to the application are closed after some seconds.
      return open === 0 && draining === 0 && zombies === 0 && keeper.descriptors <= before.keeper.descriptors + 2
        && engine.descriptors <= before.engine.descriptors + 2 && keeper.threads === before.keeper.threads
        && engine.threads <= before.engine.threads + 2
    }, 120_000)
    return []
  } catch {
    return [`not at rest after everybody has left: ${seen}`]
  }
}

/** The daemon ends in good order, and nothing is left of it. @param {Stage} stage */
async function endAmiss(stage) {
  const findings = []
  const {engine: {pid}} = await stage.status()
  const engineAndOthers = [...stage.seen, /** @type {const} */ ([pid, startOf(pid)])]
  const answer = await stage.ask({command: "shutdown"})
  if (answer.status !== "success") findings.push(`the shutdown was answered by ${JSON.stringify(answer)}`)
  const how = await Promise.race([stage.ended, wait(30_000, "not within 30 s", {ref: false})])
  if (how !== "exit status 0") findings.push(`the daemon ended: ${how}`)
  for (const [one, start] of engineAndOthers) {
    if (start !== "" && startOf(one) === start) findings.push(`process ${one} is left over`)
  }
  if (existsSync(stage.socket)) findings.push("the control socket is left over")
  if (existsSync(`${stage.stateFolder}/soak.json`)) findings.push("the state file is left over")
  return findings
}
