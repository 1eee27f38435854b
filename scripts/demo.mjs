// The whole product at work, for real: a daemon, the ticket server of examples/, visitors and WebSockets that do not
// pause while releases change under them. Usage: node scripts/demo.mjs [--quick]

import {once} from "node:events"
import {existsSync, mkdtempSync, rmSync} from "node:fs"
import {createRequire} from "node:module"
import {tmpdir} from "node:os"
import {delimiter, dirname, join} from "node:path"
import {setTimeout as wait} from "node:timers/promises"
import {build} from "./build.mjs"
import {expect, tell} from "./demo/timeline.mjs"
import {root} from "./run-command.mjs"
import {setUp} from "./setup.mjs"

const quick = process.argv.includes("--quick")
const viewerCount = quick ? 5 : 20
const visitorCount = quick ? 4 : 12
/** How many requests visitors make between two events, and how many messages each viewer then gets. */
const someRequests = quick ? 100 : 1000
const someMessages = quick ? 5 : 30
const pauseBetweenMovesMs = 40

const exampleFolder = join(root, "examples", "ticket-server")
const temporaryFolder = mkdtempSync(join(tmpdir(), "rollbridge-demo-"))
/** @type {import("../tests/support/running-daemon.js").RunningDaemon | undefined} */
let daemon

const interrupted = Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]).then(() => {
  throw new Error("interrupted")
})

try {
  await Promise.race([prepare().then(tellStory), interrupted])
} catch (error) {
  process.exitCode = 1
  console.error(`\nThe demo failed: ${error instanceof Error ? error.message : error}`)
  if (daemon) console.error(`The daemon's last words:\n${daemon.log().split("\n").slice(-20).join("\n")}`)
} finally {
  await daemon?.end()
  rmSync(temporaryFolder, {recursive: true, force: true})
  // After a failure visitors may still be on their way.
  process.exit()
}

async function prepare() {
  await setUp()
  await build()
}

async function tellStory() {
  // Imported here, because they need what prepare() has installed and built.
  const require = createRequire(import.meta.url)
  const rollbridge = require("../index.js")
  const {freePortRange, freePorts} = require("../tests/support/free-ports.js")
  const {RunningDaemon} = require("../tests/support/running-daemon.js")
  const {waitUntil} = require("../tests/support/wait-until.js")
  const {LiveViewer} = await import("./demo/live-viewer.mjs")
  const {Visitors} = await import("./demo/visitors.mjs")

  const [proxyPort, brokerPort] = await freePorts(2)
  const webPorts = await freePortRange(20)
  const controlPath = join(temporaryFolder, "control.sock")
  Object.assign(process.env, {
    PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}`,
    TICKET_SERVER_CONTROL_PATH: controlPath,
    TICKET_SERVER_PROXY_PORT: String(proxyPort),
    TICKET_SERVER_BROKER_PORT: String(brokerPort),
    TICKET_SERVER_WEB_PORTS: `${webPorts.from}-${webPorts.to}`
  })
  const config = join(exampleFolder, "rollbridge.js")
  const visitors = new Visitors({port: proxyPort, count: visitorCount})
  const viewers = Array.from({length: viewerCount}, () => new LiveViewer({port: proxyPort}))

  console.log()
  tell(`Starting a daemon; visitors will always talk to port ${proxyPort}.`)
  const started = new RunningDaemon({configPath: config, logPath: join(temporaryFolder, "daemon.log")})
  daemon = started
  await started.ready()

  await deploy("1", "first")
  tell(`A visitor is answered by version ${await visitors.versionNow()}.`)

  for (const viewer of viewers) await viewer.open()
  visitors.start()
  tell(`${viewerCount} WebSockets are open, and ${visitorCount} visitors send requests without pause.`)
  await moreRequests()

  const before = await sharedProcesses()
  await deploy("2", "second")
  await viewersStayWith("1")
  const after = await sharedProcesses()
  expect(after.broker === before.broker, "the broker was restarted by a deploy")
  expect(after.scheduler !== before.scheduler, "the scheduler was not replaced by the deploy")
  tell(`The broker is still process ${after.broker}; the scheduler is now process ${after.scheduler}.`)
  await moveViewersTo("2")
  await drained("first")
  await moreRequests()

  tell("Version 2 was not what we wanted: rolling back.")
  await rollBack("1", "first")
  const pidBefore = await webPid("second")
  tell("It was, after all: rolling back once more, while the viewers still hold version 2.")
  await rollBack("2", "second")
  expect((await webPid("second")) === pidBefore, "the release that was still draining was restarted")
  tell(`Nothing was started for that: its web process is still process ${pidBefore}.`)
  await moreRequests()

  await deploy("1", "third")
  await moveViewersTo("1")
  await drained("second")
  await moreRequests()

  await visitors.stop()
  for (const viewer of viewers) await viewer.close()
  const counts = [...visitors.answersByVersion].map(([version, count]) => `${count} from version ${version}`)
  tell(`The visitors leave. Answers they looked at: ${counts.join(", ")}.`)

  await started.status()
  await rollbridge.shutdown({config})
  const end = await started.exited()
  expect(end === "exit status 0", `the daemon ended with ${end}`)
  expect(!existsSync(controlPath), "the control socket is still there")
  await waitUntil("all processes to be gone", () => started.leftovers().length === 0)
  tell(`Shut down: of the ${started.groups.size} processes Rollbridge ran, none is left, and the socket is gone.`)
  conclude()

  /**
   * @param {string} version
   * @param {string} releaseId
   */
  async function deploy(version, releaseId) {
    tell(`Deploying version ${version} as release "${releaseId}".`)
    await rollbridge.deploy({
      config,
      releasePath: join(exampleFolder, "releases", `v${version}`),
      releaseId,
      onProgress: ({phase, message}) => tell(`  ${phase}: ${message}`)
    })
    const answering = await visitors.versionNow()
    expect(answering === version, `after the deploy of version ${version}, version ${answering} answers`)
    await started.status()
    tell(`Release "${releaseId}" is active: new requests are answered by version ${version}.`)
  }

  /**
   * @param {string} version
   * @param {string} releaseId
   */
  async function rollBack(version, releaseId) {
    const {activeReleaseId} = await rollbridge.rollback({
      config,
      onProgress: ({phase, message}) => tell(`  ${phase}: ${message}`)
    })
    expect(activeReleaseId === releaseId, `the rollback went to ${activeReleaseId}`)
    const answering = await visitors.versionNow()
    expect(answering === version, `after the rollback to version ${version}, version ${answering} answers`)
    tell(`Release "${releaseId}" is active again: new requests are answered by version ${version}.`)
  }

  /** @param {string} releaseId */
  async function webPid(releaseId) {
    const {releases} = await started.status()
    const release = releases.find((one) => one.releaseId === releaseId && one.state !== "stopped")
    return release?.processes.find(({policy}) => policy === "proxied")?.pid
  }

  async function sharedProcesses() {
    const {services, singletons} = await started.status()
    return {broker: services[0].process.pid, scheduler: singletons[0].process.pid}
  }

  async function moreRequests() {
    const goal = visitors.requestsMade + someRequests
    await waitUntil("more requests", () => visitors.requestsMade >= goal)
  }

  /** @param {string} version */
  async function viewersStayWith(version) {
    const seen = viewers.map(({received}) => received)
    await waitUntil("messages on the old WebSockets", () => {
      return viewers.every(({received}, index) => received >= seen[index] + someMessages)
    })
    expect(viewers.every((viewer) => viewer.version === version), "a WebSocket changed its release")
    tell(`All ${viewerCount} WebSockets go on with version ${version}, which drains: no message is missing.`)
  }

  /** @param {string} version */
  async function moveViewersTo(version) {
    for (const viewer of viewers) {
      await viewer.close()
      await viewer.open()
      expect(viewer.version === version, `a new WebSocket was answered by version ${viewer.version}`)
      await wait(pauseBetweenMovesMs)
    }
    tell(`One by one, the viewers have closed their WebSockets and opened new ones to version ${version}.`)
  }

  /** @param {string} releaseId */
  async function drained(releaseId) {
    await waitUntil(`release ${releaseId} to stop`, async () => {
      const {releases} = await started.status()
      return releases.every((release) => release.releaseId !== releaseId || release.state === "stopped")
    })
    tell(`Release "${releaseId}" has nothing left to finish and has stopped.`)
  }

  function conclude() {
    const cuts = viewers.reduce((sum, viewer) => sum + viewer.cuts, 0)
    const faults = viewers.flatMap((viewer) => viewer.faults)
    const failed = visitors.failures.length
    if (failed > 0 || faults.length > 0) console.error([...visitors.failures, ...faults].slice(0, 20).join("\n"))
    if (failed > 0 || faults.length > 0 || cuts > 0) process.exitCode = 1
    console.log(`\nrequests made: ${visitors.requestsMade}, failed: ${failed}, WebSockets cut: ${cuts}`)
  }
}
