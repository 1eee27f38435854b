// What must hold of a run, judged from both sides' records once it is over. What broke and may break is put down to a
// deed; everything else is a finding.

import {drainTimeoutMs} from "./config.mjs"

/** How long after the deed, or after it was through, its clients may hear of it, on a busy machine. */
const hearsWithinMs = 5000
/** A client may send its next request before it hears that its connection is gone. */
const notYetHeardMs = 1500

/** By how much two clocks' views of one moment may differ. */
const shortMs = 500
const stoppedForMemory = "web process stopped for its memory"

/** @typedef {import("./load.mjs").Visit | import("./tunnels.mjs").Tunnel} Broken */

/**
 * @param {object} run
 * @param {import("./stage.mjs").Stage} run.stage
 * @param {import("./load.mjs").Load} run.load
 * @param {import("./tunnels.mjs").Tunnels} run.tunnels
 * @param {import("./rude.mjs").RudeClients} run.rude
 * @param {import("./faults.mjs").Faults} run.faults
 * @param {import("./followers.mjs").Followers} run.followers
 */
export function account({stage, load, tunnels, rude, faults, followers}) {
  const findings = [
    ...[...load.wrong, ...tunnels.wrong, ...rude.wrong, ...faults.wrong, ...followers.wrong],
    ...stage.linesOf("complaints"),
    ...ordersAmiss(stage, load),
    ...ticksAmiss(stage),
    ...jobsAmiss(stage, faults, followers),
    ...answersAmiss(load, faults),
    ...exitsAmiss(faults, followers)
  ]
  /** How many broke, by what and why. @type {Map<string, number>} */
  const reasons = new Map()
  const broken = [...load.broken, ...rude.broken, ...tunnels.ended.filter(({outcome}) => outcome !== "left")]
  for (const one of broken) {
    const reason = reasonFor(one, {stage, faults, followers})
    const what = `${one.kind}, ${one.outcome}: ${reason}`
    if (reason === undefined) findings.push(`without a reason: ${describe(one, faults)}`)
    else reasons.set(what, (reasons.get(what) ?? 0) + 1)
  }
  return {findings, reasons}
}

/**
 * @param {Broken} broken
 * @param {object} run
 * @param {import("./stage.mjs").Stage} run.stage
 * @param {import("./faults.mjs").Faults} run.faults
 * @param {import("./followers.mjs").Followers} run.followers
 */
function reasonFor(broken, {stage, faults, followers}) {
  const isTunnel = !("id" in broken)
  const because = (/** @type {string} */ what) => faults.deeds.filter(({name, at, over = at}) => {
    const isInTime = at <= broken.ended && broken.ended - over < hearsWithinMs
    return name === what && isInTime && over >= broken.began - notYetHeardMs
  })
  if (["reset", "cut"].includes(broken.outcome) && because("engine killed").length > 0) {
    return "in flight when the engine was killed"
  }
  const killed = because("web killed")
  if (broken.outcome === "cut" && killed.some(({pid}) => pid === Number(broken.pid))) {
    return "the web process was killed in its answer"
  }
  if (!isTunnel && !broken.repeatable && broken.outcome === "status 502" && killed.length > 0) {
    return "the web process was killed, and may have seen it"
  }
  // Node closes connections on which a request lies unread, and nobody can tell that from one that was read.
  if (!isTunnel && !broken.repeatable && broken.outcome === "status 502" && because(stoppedForMemory).length > 0) {
    return "the web process closed the connection as it stopped for its memory, and may have seen it"
  }
  if (isTunnel && ["ended", "cut"].includes(broken.outcome)) {
    if (because(stoppedForMemory).length > 0) return "the web process was stopped for its memory"
    if (isRetired(broken, stage, followers)) return "its release was retired"
  }
  return undefined
}

/**
 * Whether the release that had the tunnel was retired, and has had its time to drain.
 *
 * @param {import("./tunnels.mjs").Tunnel} tunnel
 * @param {import("./stage.mjs").Stage} stage
 * @param {import("./followers.mjs").Followers} followers
 */
function isRetired(tunnel, stage, followers) {
  const endedAt = performance.timeOrigin + tunnel.ended
  return followers.events.some(({message, at, data, heardAt}) => {
    const isItsOwn = message === "release draining" && data.releaseId === tunnel.release
    return isItsOwn && endedAt - stage.clock.machineTime(at, heardAt) > drainTimeoutMs - shortMs
  })
}

/**
 * @param {Broken} broken
 * @param {import("./faults.mjs").Faults} faults
 */
function describe(broken, faults) {
  const before = faults.deeds.filter(({at}) => at <= broken.ended).at(-1)
  const last = before ? `${Math.round(broken.ended - before.at)} ms after "${before.name}"` : "before any fault"
  const who = `release ${broken.release ?? "unknown"}, pid ${broken.pid ?? "unknown"}`
  const ms = Math.round(broken.ended - broken.began)
  return `${broken.kind} ${"id" in broken ? broken.id : ""}: ${broken.outcome}, after ${ms} ms, ${last}, ${who}`
}

/**
 * Nothing that was answered is missing, nothing was done twice, nothing refused was done.
 *
 * @param {import("./stage.mjs").Stage} stage
 * @param {import("./load.mjs").Load} load
 */
function ordersAmiss(stage, load) {
  const done = new Set()
  const findings = []
  for (const id of stage.linesOf("orders")) {
    if (done.has(id)) findings.push(`order ${id} was done twice`)
    if (load.refused.has(id)) findings.push(`order ${id} was done, and its client was told that it was not`)
    done.add(id)
  }
  for (const id of load.recorded) if (!done.has(id)) findings.push(`order ${id} was answered, but never done`)
  return findings
}

/** The schedulers went on where the one before stopped. @param {import("./stage.mjs").Stage} stage */
function ticksAmiss(stage) {
  const ticks = stage.linesOf("ticks").map((line) => Number(line.split(" ")[0]))
  const amiss = ticks.filter((tick, index) => tick !== index + 1)
  return amiss.length > 0 ? [`the schedulers' ticks are not in order, from ${amiss[0]} on`] : []
}

/**
 * A worker that was asked to stop has finished its job.
 *
 * @param {import("./stage.mjs").Stage} stage
 * @param {import("./faults.mjs").Faults} faults
 * @param {import("./followers.mjs").Followers} followers
 */
function jobsAmiss(stage, faults, followers) {
  const open = new Set()
  for (const line of stage.linesOf("jobs")) {
    const [word, pid, job] = line.split(" ")
    if (word === "begun") open.add(`${pid} ${job}`)
    else open.delete(`${pid} ${job}`)
  }
  const killed = new Set(faults.deeds.map(({pid}) => pid))
  const hurried = new Set(followers.events.filter(({message}) => message === "process killed").map(({data}) => data.pid))
  return [...open].filter((job) => {
    const pid = Number(job.split(" ")[0])
    return !killed.has(pid) && !hurried.has(pid)
  }).map((job) => `a worker was stopped in the middle of a job: ${job}`)
}

/**
 * While one release served and nothing was about to change, no other has answered.
 *
 * @param {import("./load.mjs").Load} load
 * @param {import("./faults.mjs").Faults} faults
 */
function answersAmiss(load, faults) {
  const {serving} = faults
  return load.answers.flatMap(({release, began, ended}) => {
    const index = serving.findLastIndex(({at}) => at <= began)
    const now = serving[index]
    const next = serving[index + 1]
    if (!now?.release || now.release === release || (next && next.at < ended)) return []
    return [`release ${release} answered while ${now.release} was active`]
  })
}

/**
 * No process ended that nobody had ended.
 *
 * @param {import("./faults.mjs").Faults} faults
 * @param {import("./followers.mjs").Followers} followers
 */
function exitsAmiss(faults, followers) {
  const killed = new Set(faults.deeds.map(({pid}) => pid))
  const stopping = new Set()
  const findings = []
  for (const {message, data} of followers.events) {
    if (message === "process stopping") stopping.add(data.pid)
    const isCrash = message === "process exited" && data.exitSignal !== null && !stopping.has(data.pid)
    if (isCrash && !killed.has(data.pid)) findings.push(`process ${data.pid} (${data.processId}) ended by ${data.exitSignal}`)
    if (message === "process killed" && !killed.has(data.pid)) {
      findings.push(`process ${data.pid} (${data.processId}) had to be killed`)
    }
  }
  return findings
}
