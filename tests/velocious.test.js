"use strict"

// examples/velocious with the real package: what docs/velocious.md says of it. The package and SQLite are large, so that
// `npm test` does not install them: `npm install` in that folder does, and needs Node 22.

const assert = require("node:assert/strict")
const fs = require("node:fs")
const path = require("node:path")
const {test} = require("node:test")
const {freePortRange, freePorts} = require("./support/free-ports.js")
const {root, shownFile} = require("./support/pages.js")
const {RunningDaemon} = require("./support/running-daemon.js")
const {temporaryFolder, writeFiles} = require("./support/temporary-folder.js")
const {waitUntil} = require("./support/wait-until.js")
const rollbridge = require("..")

const example = path.join(root, "examples", "velocious")
const patience = 60_000

test("the page shows the config of the example", async (t) => {
  const folder = temporaryFolder(t, {"rollbridge.mjs": shownFile("docs/velocious.md", "rollbridge.mjs")})
  const shown = await rollbridge.loadConfig({config: path.join(folder, "rollbridge.mjs")})
  const real = await rollbridge.loadConfig({config: path.join(example, "rollbridge.js")})
  const what = (/** @type {{processes: any[]}} */ {processes}) =>
    processes.map(({id, policy, lifecycle, nonBlockingDrain, gracefulStopMs}) =>
      ({id, policy, lifecycle, nonBlockingDrain, gracefulStopMs}))
  assert.deepEqual(what(shown), what(real))
})

test("Velocious: a deploy leaves web and jobs alone", async (t) => {
  if (Number(process.versions.node.split(".")[0]) < 22) return t.skip("Velocious needs Node 22")
  if (!fs.existsSync(path.join(example, "node_modules"))) return t.skip("run npm install in examples/velocious")

  const folder = temporaryFolder(t, {"package.json": '{"type": "module"}', "shared/db/.keep": ""})
  const config = path.join(folder, "rollbridge.js")
  fs.copyFileSync(path.join(example, "rollbridge.js"), config)
  const releases = ["v1", "v2"].map((name) => path.join(folder, "releases", name))
  for (const release of releases) {
    fs.cpSync(path.join(example, "src"), path.join(release, "src"), {recursive: true})
    writeFiles(release, {"package.json": '{"type": "module"}'})
    fs.symlinkSync(path.join(example, "node_modules"), path.join(release, "node_modules"))
    fs.symlinkSync(path.join(folder, "shared", "db"), path.join(release, "db"))
  }
  const [proxyPort, jobsPort] = await freePorts(2)
  const {from, to} = await freePortRange(10)
  const gate = path.join(folder, "gate")
  Object.assign(process.env, {
    CONTROL_PATH: path.join(folder, "control.sock"),
    PROXY_PORT: String(proxyPort), JOBS_PORT: String(jobsPort), WEB_PORTS: `${from}-${to}`, REPORT_GATE: gate
  })
  const daemon = await new RunningDaemon({configPath: config, logPath: path.join(folder, "daemon.log")}).ready()
  t.after(() => daemon.end())

  const url = `http://127.0.0.1:${proxyPort}`
  const releaseThatAnswers = async () => /** @type {{release: string}} */ (await (await fetch(`${url}/version`)).json()).release
  const reports = () => fs.existsSync(path.join(folder, "reports")) ? fs.readFileSync(path.join(folder, "reports"), "utf8") : ""
  const report = async () => assert.equal((await fetch(`${url}/report`, {method: "POST"})).status, 200)

  await rollbridge.deploy({config, releasePath: releases[0], releaseId: "v1"})
  assert.equal(await releaseThatAnswers(), "v1")
  await report()
  await waitUntil("the job", () => reports() === "begun by v1\n", patience)

  await rollbridge.deploy({config, releasePath: releases[1], releaseId: "v2"})
  assert.equal(await releaseThatAnswers(), "v2")
  await waitUntil("the old web process to end", async () => processOf(await daemon.status(), "v1", "web") === "stopped")
  assert.equal(processOf(await daemon.status(), "v1", "background-jobs-worker"), "stopping")
  assert.equal(reports(), "begun by v1\n")
  fs.writeFileSync(gate, "")
  await waitUntil("the end of the old release", async () => releaseOf(await daemon.status(), "v1")?.state === "stopped", patience)
  assert.equal(reports(), "begun by v1\ndone by v1\n")

  await report()
  await waitUntil("the new worker", () => reports().endsWith("begun by v2\ndone by v2\n"), patience)
})

/**
 * @param {Awaited<ReturnType<typeof rollbridge.status>>} status
 * @param {string} releaseId
 */
const releaseOf = (status, releaseId) => status.releases.find((release) => release.releaseId === releaseId)

/**
 * The state of one process of a release.
 *
 * @param {Awaited<ReturnType<typeof rollbridge.status>>} status
 * @param {string} releaseId
 * @param {string} id
 */
const processOf = (status, releaseId, id) => releaseOf(status, releaseId)?.processes.find((one) => one.id === id)?.state
