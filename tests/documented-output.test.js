"use strict"

// What a daemon with a bit of everything answers, through the functions and through the command line, against the types:
// every documented field is there, nothing else is, and each field but those named below has been seen with a value.

const assert = require("node:assert/strict")
const {execFile} = require("node:child_process")
const {once} = require("node:events")
const fs = require("node:fs")
const http = require("node:http")
const path = require("node:path")
const {test} = require("node:test")
const {promisify} = require("node:util")
const rollbridge = require("..")
const {findBinary} = require("../lib/native.js")
const {DocumentedTypes} = require("./support/documented-types.js")
const {freePort, freePortRange} = require("./support/free-ports.js")
const {RunningDaemon} = require("./support/running-daemon.js")
const {temporaryFolder} = require("./support/temporary-folder.js")
const {waitUntil} = require("./support/wait-until.js")

/** Answers, keeps `/kept` waiting for the rest, and accepts every upgrade. */
const server = `
const {createServer} = require("node:http")
console.log("here")
createServer((request, response) => request.url === "/kept" ? response.write("so far") : response.end("all"))
  .on("upgrade", (request, socket) => {
    socket.on("error", () => {})
    socket.write("HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\nhello")
  })
  .listen(process.env.ROLLBRIDGE_PORT, "127.0.0.1")`

/** A minute: whoever waits that long waits for the whole test. */
const never = 60_000

/** @param {import("node:test").TestContext} t */
async function application(t) {
  const sleep = "exec sleep 1000"
  const config = {
    application: "everything",
    control: {path: "control.sock"},
    proxy: {port: await freePort(), healthPath: "/", drainTimeoutMs: never},
    processes: [
      {id: "web", policy: "proxied", command: `exec '${process.execPath}' server.js`, port: await freePortRange(10)},
      {id: "worker", command: sleep, replicas: 2},
      {id: "exits", command: "exit 3", restartDelayMs: never},
      {id: "killed", command: "kill -KILL $$", restartDelayMs: never},
      {id: "eater", command: sleep, restartDelayMs: 0, memory: {limitBytes: 1, checkIntervalMs: 300}},
      {id: "cache", policy: "service", command: sleep, port: await freePortRange(10)},
      {id: "scheduler", policy: "singleton", command: sleep}
    ]
  }
  const folder = temporaryFolder(t, {
    "rollbridge.json": JSON.stringify(config),
    "one/server.js": server,
    "two/server.js": server
  })
  const configPath = path.join(folder, "rollbridge.json")
  const daemon = new RunningDaemon({configPath, logPath: path.join(folder, "daemon.log")})
  t.after(() => daemon.end())
  await daemon.ready()
  return {configPath, folder, port: config.proxy.port}
}

/**
 * Opens a request whose answer does not end, and an upgraded connection.
 *
 * @param {import("node:test").TestContext} t
 * @param {number} port
 */
async function keepOpen(t, port) {
  const agent = new http.Agent()
  t.after(() => agent.destroy())
  const kept = http.get({port, agent, host: "127.0.0.1", path: "/kept"}).on("error", () => {})
  const upgraded = http.get({port, agent, host: "127.0.0.1", path: "/up", headers: {Connection: "Upgrade", Upgrade: "echo"}})
  upgraded.on("error", () => {})
  const [[answer], [, socket]] = await Promise.all([once(kept, "response"), once(upgraded, "upgrade")])
  answer.on("error", () => {})
  socket.on("error", () => {})
  t.after(() => [kept, upgraded, socket].forEach((each) => each.destroy()))
}

/** Fields that nothing in this test gives a value to. */
const elsewhere = [
  // Only a daemon that was installed or started in a special way has these.
  "Status.daemonRuntime",
  "Status.bootstrap",
  // Only after a crash of the whole daemon: tests/daemon/recovering.rs.
  "Status.orphans"
]

test("every documented field of what a daemon answers", async (t) => {
  const types = new DocumentedTypes()
  const conforms = (/** @type {string} */ name, /** @type {unknown} */ value) =>
    assert.deepEqual(types.deviations(name, value), [], name)
  const {configPath: config, folder, port} = await application(t)
  const json = async (/** @type {string[]} */ ...args) => {
    const {stdout} = await promisify(execFile)(findBinary(), [...args, "--config", config], {maxBuffer: 16 * 1024 * 1024})
    return JSON.parse(stdout)
  }
  // What the protocol answers is printed as it is, with its own first field.
  const answer = async (/** @type {string[]} */ ...args) => {
    const {status, ...fields} = await json(...args)
    assert.equal(status, "success")
    return fields
  }

  /** @type {rollbridge.DeployProgress[]} */
  const progress = []
  const onProgress = (/** @type {rollbridge.DeployProgress} */ each) => void progress.push(each)
  conforms("DeployResult", await rollbridge.deploy({config, releasePath: path.join(folder, "one"), releaseId: "v1", onProgress}))
  for (const each of progress) conforms("DeployProgress", each)
  await keepOpen(t, port)
  conforms("DeployResult", await answer("deploy", "--release-path", path.join(folder, "two"), "--release-id", "v2"))
  const before = await rollbridge.status({config})
  process.kill(before.engine.pid, "SIGKILL")
  await waitUntil("the next engine", async () => {
    const status = await rollbridge.status({config}).catch(() => undefined)
    return status !== undefined && status.engine.pid !== before.engine.pid
  })
  await keepOpen(t, port)
  await rollbridge.deploy({config, releasePath: path.join(folder, "one"), releaseId: "v3"})
  await waitUntil("a restart because of memory", async () => {
    const {releases} = await rollbridge.status({config})
    return releases.some(({processes}) => processes.some(({memoryRestarts}) => memoryRestarts > 0))
  })

  for (const open of [await rollbridge.connections({config}), await json("connections", "--json")]) {
    assert.deepEqual(new Set(open.map((/** @type {rollbridge.Connection} */ {kind}) => kind)), new Set(["http", "websocket"]))
    for (const each of open) conforms("Connection", each)
  }
  for (const logs of [await rollbridge.logs({config}), await json("logs", "--json")]) {
    assert.ok(logs.length > 0)
    for (const each of logs) conforms("ProcessLogs", each)
  }
  for (const events of [await rollbridge.events({config}), await json("events", "--json")]) {
    assert.ok(events.length > 0)
    for (const each of events) conforms("DaemonEvent", each)
  }
  const followed = rollbridge.logs({config, follow: true})
  conforms("FollowedLogLine", (await followed.next()).value)
  await followed.return()
  conforms("RestartResult", await rollbridge.restart({config, policy: "singleton"}))
  await comparePs(await json("ps", "--json"))

  // Both releases before the active one: one that drains as long as its connections are open, and one that is stopped.
  conforms("Status", await rollbridge.status({config}))
  conforms("Status", await answer("stop", "--release-id", "v2"))
  conforms("Status", await answer("status"))
  conforms("ShutdownResult", await rollbridge.shutdown({config}))

  const told = ["DeployResult", "DeployProgress", "Connection", "ProcessLogs", "LogLine", "FollowedLogLine", "DaemonEvent"]
  const ofStatus = ["Status", "ReleaseStatus", "SharedProcessStatus", "ProcessStatus", "ChildProcessStatus"]
  assert.deepEqual(types.unseen([...told, ...ofStatus, "RestartResult", "ShutdownResult"]), elsewhere)
})

/** The fields of `ps --json`, which has no type: those that docs/cli.md names, in that order. @param {object[]} rows */
function comparePs(rows) {
  const page = fs.readFileSync(path.join(__dirname, "..", "docs", "cli.md"), "utf8")
  const documented = /`\{(source, releaseId, [^}]+)\}`/.exec(page)?.[1].split(/,\s*/)
  assert.ok(rows.length > 0)
  for (const row of rows) assert.deepEqual(Object.keys(row), documented)
}

test("a deviation is noticed", () => {
  const types = new DocumentedTypes()
  const line = {seq: 1, at: "now", stream: "stdout", line: "x"}
  assert.deepEqual(types.deviations("LogLine", line), [])
  assert.deepEqual(types.unseen(["LogLine"]), [])
  const without = {seq: 1, stream: "stdout", line: "x"}
  assert.deepEqual(types.deviations("LogLine", without), ["LogLine.at is missing"])
  assert.deepEqual(types.deviations("LogLine", {...line, more: 1}), ["LogLine.more is not documented"])
  assert.deepEqual(types.deviations("LogLine", {...line, seq: "1"}), ['LogLine.seq is "1", not number'])
  assert.deepEqual(types.deviations("LogLine", {...line, stream: "stdin"}).length, 1)
  assert.deepEqual(types.deviations("ProcessLogs", {id: "web", source: "v1", logs: [without]}), [
    "ProcessLogs.logs[].at is missing"
  ])
})
