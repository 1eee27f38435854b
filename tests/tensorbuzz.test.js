"use strict"

// examples/tensorbuzz.com.js as docs/tensorbuzz-runbook.md says it runs, with a stand-in for Velocious.

const assert = require("node:assert/strict")
const fs = require("node:fs")
const path = require("node:path")
const {test} = require("node:test")
const {freePortRange, freePorts} = require("./support/free-ports.js")
const {root} = require("./support/pages.js")
const {RunningDaemon} = require("./support/running-daemon.js")
const {temporaryFolder, writeFiles} = require("./support/temporary-folder.js")
const {waitUntil} = require("./support/wait-until.js")
const rollbridge = require("..")

const example = path.join(root, "examples", "tensorbuzz.com.js")

/** What matters of Velocious here: its commands, the port each listens on, and that jobs hear where the others are. */
const velocious = `#!/usr/bin/env node
const {createServer} = require("node:http")
const [, , command, ...rest] = process.argv
const {VELOCIOUS_BEACON_PORT, VELOCIOUS_BACKGROUND_JOBS_PORT, ROLLBRIDGE_RELEASE_ID} = process.env
const ports = {
  server: rest[rest.indexOf("--port") + 1], beacon: VELOCIOUS_BEACON_PORT, "background-jobs-main": VELOCIOUS_BACKGROUND_JOBS_PORT
}
console.log(command, VELOCIOUS_BEACON_PORT, VELOCIOUS_BACKGROUND_JOBS_PORT)
if (command === "background-jobs-worker") setInterval(() => {}, 1000)
else createServer((request, response) => response.end(ROLLBRIDGE_RELEASE_ID)).listen(ports[command], "127.0.0.1")
`

test("tensorbuzz.com deploys in the order of its runbook, and goes back", async (t) => {
  const [proxyPort, jobsPort] = await freePorts(2)
  const web = await freePortRange(10)
  const beacon = await freePortRange(10)
  const folder = temporaryFolder(t, {"shared/.keep": ""})
  const text = fs.readFileSync(example, "utf8")
    .replace("/tmp/rollbridge-tensorbuzz.sock", path.join(folder, "control.sock"))
    .replaceAll("/home/dev/tensorbuzz.com", folder)
    .replace("8182", String(proxyPort))
    .replace("port: 7331", `port: ${jobsPort}`)
    .replace("{from: 17330, to: 17399}", JSON.stringify(beacon))
    .replace("{from: 18182, to: 18299}", JSON.stringify(web))
  const config = path.join(folder, "rollbridge.mjs")
  fs.writeFileSync(config, text)
  const release = (/** @type {string} */ name) => {
    const place = path.join(folder, "releases", name)
    writeFiles(place, {"node_modules/.bin/velocious": velocious})
    fs.chmodSync(path.join(place, "node_modules/.bin/velocious"), 0o755)
    return place
  }
  const deploy = (/** @type {string} */ name) => rollbridge.deploy({config, releasePath: release(name), releaseId: name})
  const answer = async () => (await fetch(`http://127.0.0.1:${proxyPort}/`)).text()
  const daemon = await new RunningDaemon({configPath: config, logPath: path.join(folder, "daemon.log")}).ready()
  t.after(() => daemon.end())

  await deploy("20260521073000")
  assert.equal(await answer(), "20260521073000")
  const started = (await rollbridge.events({config})).filter(({message}) => message === "process started")
  assert.deepEqual(started.map(({data}) => data.processId), ["background-jobs-main", "beacon", "background-jobs-worker", "web"])

  await deploy("20260522090000")
  assert.equal(await answer(), "20260522090000")
  const {services, releases} = await daemon.status()
  assert.equal(services[0].process.releaseId, "20260521073000")
  assert.equal(services[0].process.port, jobsPort)
  const [, newest] = releases
  const logs = {config, process: "background-jobs-worker", releaseId: newest.releaseId}
  const said = await waitUntil("the worker's first line", async () => (await rollbridge.logs(logs))[0].logs[0])
  assert.equal(said.line, `background-jobs-worker ${newest.ports.beacon} ${jobsPort}`)

  await rollbridge.rollback({config})
  assert.equal(await answer(), "20260521073000")
  assert.deepEqual((await rollbridge.restart({config, process: "background-jobs-main"})).restarted, ["background-jobs-main"])
})
