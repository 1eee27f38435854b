"use strict"

const assert = require("node:assert/strict")
const {execFile, spawn} = require("node:child_process")
const {once} = require("node:events")
const fs = require("node:fs")
const {createServer} = require("node:net")
const path = require("node:path")
const {monitorEventLoopDelay} = require("node:perf_hooks")
const {test} = require("node:test")
const {promisify} = require("node:util")
const {Worker} = require("node:worker_threads")
const {ScriptTarget, transpileModule} = require("typescript")
const rollbridge = require("..")
const {findBinary} = require("../lib/native.js")
const {smallApplication} = require("./support/small-application.js")
const {writeFiles} = require("./support/temporary-folder.js")
const {waitUntil} = require("./support/wait-until.js")

const {Daemon} = rollbridge
const root = path.join(__dirname, "..")
// What the test of panics prints stays short.
process.env.RUST_BACKTRACE = "0"

/** @param {number | null} port */
const answerOf = async (port) => (await fetch(`http://127.0.0.1:${port}/`)).text()

/**
 * The smallest application, without a control socket, and a daemon for it that ends with the test.
 *
 * @param {import("node:test").TestContext} t
 * @param {(config: any) => void} [change]
 */
async function application(t, change = () => {}) {
  const {configPath, folder, release} = await smallApplication(t)
  const config = JSON.parse(fs.readFileSync(configPath, "utf8"))
  delete config.control
  config.proxy.port = 0
  change(config)
  const daemon = new Daemon(config)
  t.after(() => daemon.shutdown())
  return {config, daemon, folder, release}
}

/** Whether a process lives; a zombie does not. @param {number} pid */
function lives(pid) {
  try {
    return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    if (fs.existsSync("/proc/self/status")) return false
  }
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test("start, deploy, follow events, shut down: nothing is left", async (t) => {
  const {daemon, release} = await application(t)
  assert.equal(daemon.proxyPort, null)
  assert.equal(await daemon.start(), daemon)
  assert.equal((await fetch(`http://127.0.0.1:${daemon.proxyPort}/`)).status, 503)

  /** @type {string[]} */
  const messages = []
  const following = (async () => {
    for await (const {message} of daemon.events({follow: true})) messages.push(message)
  })()
  /** @type {Set<string>} */
  const phases = new Set()
  const onProgress = (/** @type {rollbridge.DeployProgress} */ {phase}) => void phases.add(phase)
  const deployed = await daemon.deploy({releasePath: release("one"), releaseId: "v1", onProgress})
  assert.deepEqual(deployed, {activeReleaseId: "v1", previousReleaseId: null})
  assert.ok(phases.has("switch"), [...phases].join())
  assert.equal(await answerOf(daemon.proxyPort), "one")
  await daemon.deploy({releasePath: release("two"), releaseId: "v2"})
  assert.equal(await answerOf(daemon.proxyPort), "two")
  assert.equal((await daemon.rollback()).activeReleaseId, "v1")
  assert.deepEqual(await daemon.restart(), {restarted: []})

  const status = await daemon.status()
  assert.deepEqual([status.activeReleaseId, status.proxy.port], ["v1", daemon.proxyPort])
  const pids = status.releases.flatMap(({processes}) => processes.flatMap(({pid}) => pid ?? []))
  assert.notEqual(pids.length, 0)
  assert.equal((await daemon.logs({process: "web"})).length > 0, true)
  assert.equal((await daemon.events({limit: 1})).length, 1)

  await daemon.shutdown()
  await following
  assert.equal(messages.at(-1), "shutdown finished")
  assert.deepEqual(pids.filter(lives), [])
  await assert.rejects(answerOf(daemon.proxyPort))
  await daemon.shutdown()
  await assert.rejects(daemon.status(), {code: "no_daemon", message: "the daemon was shut down"})
  await assert.rejects(daemon.start(), {code: "no_daemon"})
})

test("a failed deploy rejects with the fields of the protocol, and the previous release stays", async (t) => {
  const {daemon, release} = await application(t)
  await daemon.start()
  await daemon.deploy({releasePath: release("one"), releaseId: "v1"})
  await assert.rejects(daemon.deploy({releasePath: release("broken"), releaseId: "v2"}), (/** @type {any} */ error) => {
    assert.ok(error instanceof rollbridge.RollbridgeError)
    assert.deepEqual([error.code, error.processId, error.exitCode], ["process_exited", "web", 7])
    assert.equal(error.logs?.at(-1)?.line, "cannot go on")
    return true
  })
  assert.equal(await answerOf(daemon.proxyPort), "one")
})

test("before the start, twice, and with a port that is taken", async (t) => {
  const blocker = createServer().listen(0, "127.0.0.1")
  await once(blocker, "listening")
  const {port} = /** @type {import("node:net").AddressInfo} */ (blocker.address())
  const {daemon, release} = await application(t, (config) => (config.proxy.port = port))
  await assert.rejects(daemon.status(), {code: "no_daemon", message: /call start\(\) first/})
  await assert.rejects(daemon.deploy({releasePath: release("one")}), {code: "no_daemon"})
  await assert.rejects(daemon.events({follow: true}).next(), {code: "no_daemon"})
  await assert.rejects(daemon.start(), {code: "internal", message: new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port}`)})
  await new Promise((resolve) => blocker.close(resolve))
  await Promise.all([daemon.start(), daemon.start()])
  assert.equal(daemon.proxyPort, port)
  await assert.rejects(new Daemon({processes: []}).start(), {code: "invalid_config"})
  await new Daemon().shutdown()
})

test("several at once, each with its own releases", async (t) => {
  const [first, second] = [await application(t), await application(t)]
  await Promise.all([first.daemon.start(), second.daemon.start()])
  await Promise.all([
    first.daemon.deploy({releasePath: first.release("one")}),
    second.daemon.deploy({releasePath: second.release("two")})
  ])
  assert.deepEqual(await Promise.all([answerOf(first.daemon.proxyPort), answerOf(second.daemon.proxyPort)]), ["one", "two"])
  await first.daemon[Symbol.asyncDispose]()
  assert.equal(await answerOf(second.daemon.proxyPort), "two")
})

test("await using shuts down at the end of the block, also when that throws", async (t) => {
  const {config, release} = await application(t)
  const written = `
    async function use(rollbridge, config, releasePath, told) {
      await using daemon = await new rollbridge.Daemon(config).start()
      await daemon.deploy({releasePath, releaseId: "v1"})
      told.status = await daemon.status()
      throw new RangeError("on the way")
    }`
  // Older versions of Node do not know the words.
  const {outputText} = transpileModule(written, {compilerOptions: {target: ScriptTarget.ES2022}})
  const use = new Function(`${outputText}; return use`)()
  /** @type {{status?: rollbridge.Status}} */
  const told = {}
  await assert.rejects(use(rollbridge, config, release("one"), told), {name: "RangeError", message: "on the way"})
  assert.equal(told.status?.activeReleaseId, "v1")
  assert.deepEqual(told.status.releases.flatMap(({processes}) => processes.flatMap(({pid}) => pid ?? [])).filter(lives), [])
  await assert.rejects(answerOf(told.status.proxy.port))
})

test("a config file is read again before each deploy; with control.path the command line works too", async (t) => {
  const {config, folder, release} = await application(t)
  const file = path.join(folder, "rollbridge.mjs")
  const write = (/** @type {string} */ mark) => {
    const [web] = config.processes
    const command = `echo 'mark ${mark}'; ${web.command}`
    const written = {...config, control: {path: "control.sock"}, processes: [{...web, command}]}
    fs.writeFileSync(file, `export default ${JSON.stringify(written)}`)
  }
  write("first")
  const daemon = new Daemon(file)
  t.after(() => daemon.shutdown())
  await daemon.start()
  await daemon.deploy({releasePath: release("one"), releaseId: "v1"})
  write("second")
  await daemon.deploy({releasePath: release("two"), releaseId: "v2"})
  const first = await waitUntil("its output", async () => (await daemon.logs({releaseId: "v2"}))[0].logs[0])
  assert.equal(first.line, "mark second")
  fs.writeFileSync(file, "export default {}")
  await assert.rejects(daemon.deploy({releasePath: release("one")}), {code: "invalid_config"})
  write("third")

  const {stdout} = await promisify(execFile)(findBinary(), ["status", "--config", file])
  assert.equal(JSON.parse(stdout).activeReleaseId, "v2")
  await rollbridge.shutdown({config: file})
  await waitUntil("the end of the daemon", () => daemon.status().then(() => false, ({code}) => code === "no_daemon"))
  assert.equal(fs.existsSync(path.join(folder, "control.sock")), false)
})

test("in a worker thread, which may be ended at any time", async (t) => {
  const {config, release} = await application(t)
  const source = `
    const {parentPort, workerData: {rollbridge, config, releasePath}} = require("node:worker_threads")
    const {Daemon} = require(rollbridge)
    const daemon = new Daemon(config)
    daemon.start()
      .then(() => daemon.deploy({releasePath}))
      .then(() => daemon.status())
      .then((status) => parentPort.postMessage(status))`
  const worker = new Worker(source, {eval: true, workerData: {rollbridge: root, config, releasePath: release("one")}})
  const [status] = await once(worker, "message")
  assert.equal(await answerOf(status.proxy.port), "one")
  await worker.terminate()
  const pid = status.releases[0].processes[0].pid
  await waitUntil("the end of its process", () => !lives(pid))
  await waitUntil("the end of its proxy", () => answerOf(status.proxy.port).then(() => false, () => true))
})

/**
 * A Node process of its own that runs a daemon and tells the pids of its children; once they have been seen alive, it does
 * as it is told.
 *
 * @param {import("node:test").TestContext} t
 * @param {string} then
 * @param {string} [before] done before it tells
 */
async function host(t, then, before = "") {
  const {config, folder, release} = await application(t)
  writeFiles(folder, {
    "host.cjs": `
      const {Daemon} = require(${JSON.stringify(root)})
      const {readFileSync} = require("node:fs")
      async function main() {
        const daemon = await new Daemon(${JSON.stringify(config)}).start()
        await daemon.deploy({releasePath: ${JSON.stringify(release("one"))}})
        const {pid} = (await daemon.status()).releases[0].processes[0]
        const keeper = Number(/^PPid:\\s+(\\d+)/m.exec(readFileSync("/proc/" + pid + "/status", "utf8"))[1])
        ${before}
        console.log(JSON.stringify([pid, keeper]))
        await require("node:events").once(process.stdin.resume(), "end")
        ${then}
      }
      main()`
  })
  const child = spawn(process.execPath, [path.join(folder, "host.cjs")], {stdio: ["pipe", "pipe", "pipe"]})
  t.after(() => child.kill("SIGKILL"))
  let stderr = ""
  child.stderr.on("data", (chunk) => (stderr += chunk))
  const ended = once(child, "close").then(([status, signal]) => ({status, signal, stderr}))
  const line = await Promise.race([once(child.stdout, "data"), ended])
  assert.ok(Array.isArray(line), JSON.stringify(line))
  /** @type {number[]} */
  const pids = JSON.parse(String(line[0]))
  assert.deepEqual(pids.filter(lives), pids)
  child.stdin.end()
  return {child, ended, pids}
}

/** @type {[string, string, NodeJS.Signals | undefined, object][]} */
const ends = [
  ["shuts down and then has nothing to do", "await daemon.shutdown()", undefined, {status: 0, signal: null, stderr: ""}],
  ["exits without shutting down", "process.exit(3)", undefined, {status: 3, signal: null, stderr: ""}],
  ["is ended by SIGTERM", "", "SIGTERM", {status: null, signal: "SIGTERM", stderr: ""}],
  ["is killed", "", "SIGKILL", {status: null, signal: "SIGKILL", stderr: ""}]
]

for (const [what, then, signal, expected] of ends) {
  test(`a Node process that ${what} leaves nothing behind`, async (t) => {
    if (process.platform !== "linux") {
      t.skip("needs /proc")
      return
    }
    const {child, ended, pids} = await host(t, then)
    if (signal) child.kill(signal)
    assert.deepEqual(await ended, expected)
    await waitUntil("the end of web process and keeper", () => !pids.some(lives))
  })
}

test("a Ctrl-C that reaches everything leaves the decision to Node", async (t) => {
  if (process.platform !== "linux") {
    t.skip("needs /proc")
    return
  }
  const onSigint = 'process.once("SIGINT", () => daemon.shutdown().then(() => process.exit(9)))'
  const {child, ended, pids} = await host(t, "", onSigint)
  const [, keeper] = pids
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) process.kill(keeper, signal)
  child.kill("SIGINT")
  assert.deepEqual(await ended, {status: 9, signal: null, stderr: ""})
  await waitUntil("the end of web process and keeper", () => !pids.some(lives))
})

test("the event loop goes on while the proxy is under load and releases change", async (t) => {
  const {daemon, release} = await application(t)
  await daemon.start()
  await daemon.deploy({releasePath: release("one")})
  // The load comes from elsewhere, so that this loop has only the daemon to wait for.
  const load = `
    const {workerData: port, parentPort} = require("node:worker_threads")
    const {Agent, get} = require("node:http")
    const agent = new Agent({keepAlive: true, maxSockets: 16})
    let answered = 0
    const ask = () => get({port, agent, host: "127.0.0.1"}, (answer) => {
      answer.resume().on("end", () => { answered += 1; ask() })
    }).on("error", () => setTimeout(ask, 5))
    for (let count = 0; count < 16; count += 1) ask()
    setInterval(() => parentPort.postMessage(answered), 20)`
  const worker = new Worker(load, {eval: true, workerData: daemon.proxyPort})
  let answered = 0
  worker.on("message", (count) => (answered = count))
  await waitUntil("the load", () => answered > 50)
  const delay = monitorEventLoopDelay({resolution: 5})
  delay.enable()
  for (const name of ["two", "one", "two"]) await daemon.deploy({releasePath: release(name)})
  await waitUntil("more load", () => answered > 300)
  delay.disable()
  await worker.terminate()
  const ms = (/** @type {number} */ ns) => (ns / 1e6).toFixed(1)
  t.diagnostic(`loop delay: p50 ${ms(delay.percentile(50))} ms, p99 ${ms(delay.percentile(99))} ms, ${answered} answers`)
  // Generous, for machines that are busy with other things: what blocks would take as long as a deploy.
  assert.ok(delay.percentile(99) < 250e6, `p99 is ${ms(delay.percentile(99))} ms`)
})

test("a panic in the native part is a rejected promise, or an error, and Node goes on", async (t) => {
  const native = /** @type {any} */ (require("../lib/addon.js").addon())
  if (native.panicForTest === undefined) {
    t.skip("the addon is built for users: npm run build makes one that can panic on purpose")
    return
  }
  await assert.rejects(native.panicForTest(), /a fault of its own: on purpose; please report it/)
  assert.throws(() => native.panicForTestAtOnce(), /on purpose/)
  assert.equal(typeof native.version(), "string")
})
