"use strict"

const assert = require("node:assert/strict")
const fs = require("node:fs")
const path = require("node:path")
const {test} = require("node:test")
const rollbridge = require("..")
const {runningApplication, smallApplication} = require("./support/small-application.js")

/** @param {number} port */
const answerOf = async (port) => (await fetch(`http://127.0.0.1:${port}/`)).text()

test("ES modules can import every function by name", async () => {
  const module = await import("rollbridge")
  for (const name of Object.keys(rollbridge)) assert.ok(name in module, `${name} is missing`)
})

test("deploy, status, stop and shutdown", async (t) => {
  const {configPath, controlPath, daemon, proxyPort, release} = await runningApplication(t)

  const first = await rollbridge.deploy({config: configPath, releasePath: release("one"), releaseId: "v1"})
  assert.deepEqual(first, {activeReleaseId: "v1", previousReleaseId: null})
  assert.equal(await answerOf(proxyPort), "one")

  const second = await rollbridge.deploy({config: configPath, releasePath: release("two"), revision: "abc"})
  assert.deepEqual(second, {activeReleaseId: "abc", previousReleaseId: "v1"})
  assert.equal(await answerOf(proxyPort), "two")

  const status = await daemon.status()
  assert.equal(status.application, "small")
  assert.equal(status.activeReleaseId, "abc")
  const active = status.releases.find(({state}) => state === "active")
  assert.equal(active?.revision, "abc")
  assert.equal(active?.releasePath, release("two"))
  assert.equal(active?.processes[0].state, "running")
  assert.equal(active?.processes[0].port, active?.ports.web)

  const stopped = await rollbridge.stop({config: configPath})
  assert.equal(stopped.activeReleaseId, null)
  assert.equal((await fetch(`http://127.0.0.1:${proxyPort}/`)).status, 503)

  assert.deepEqual(await rollbridge.shutdown({config: configPath}), {message: "shutdown"})
  assert.equal(fs.existsSync(controlPath), false)
  assert.equal(await daemon.exited(), "exit status 0")
  assert.deepEqual(daemon.leftovers(), [])
})

test("the config may be an object, and the release path relative", async (t) => {
  const {configPath, proxyPort, release} = await runningApplication(t)
  const config = await rollbridge.loadConfig({config: configPath})
  const releasePath = path.relative(process.cwd(), release("one"))
  await rollbridge.deploy({config, releasePath})
  assert.equal(await answerOf(proxyPort), "one")
})

test("a deploy tells its progress in order", async (t) => {
  const {configPath, release} = await runningApplication(t)
  /** @type {string[]} */
  const phases = []
  await rollbridge.deploy({
    config: configPath,
    releasePath: release("one"),
    onProgress: ({phase, message}) => {
      assert.notEqual(message, "")
      if (phases.at(-1) !== phase) phases.push(phase)
    }
  })
  assert.ok(phases.includes("proxied"), phases.join())
  assert.ok(phases.indexOf("switch") > phases.indexOf("proxied"), phases.join())
})

test("a failed deploy says what failed, and the previous release stays", async (t) => {
  const {configPath, proxyPort, release} = await runningApplication(t)
  await rollbridge.deploy({config: configPath, releasePath: release("one")})
  const failing = rollbridge.deploy({config: configPath, releasePath: release("broken")})
  await assert.rejects(failing, (/** @type {any} */ error) => {
    assert.ok(error instanceof rollbridge.RollbridgeError)
    assert.equal(error.name, "RollbridgeError")
    assert.equal(error.code, "process_exited")
    assert.equal(error.processId, "web")
    assert.equal(error.exitCode, 7)
    return true
  })
  assert.equal(await answerOf(proxyPort), "one")
})

test("a release path that does not exist has a code of its own", async (t) => {
  const {configPath, release} = await runningApplication(t)
  const failing = rollbridge.deploy({config: configPath, releasePath: release("absent")})
  await assert.rejects(failing, {code: "release_path_missing"})
})

test("an abort ends the waiting; the deploy goes on", async (t) => {
  const {configPath, daemon, release} = await runningApplication(t)
  const abort = new AbortController()
  const waiting = rollbridge.deploy({
    config: configPath,
    releasePath: release("one"),
    releaseId: "v1",
    signal: abort.signal,
    onProgress: () => abort.abort()
  })
  await assert.rejects(waiting, {name: "AbortError"})
  // Queued behind the first, so the first has been active by then.
  const second = await rollbridge.deploy({config: configPath, releasePath: release("two"), wait: true})
  assert.equal(second.previousReleaseId, "v1")
  await daemon.status()
})

test("a callback that throws rejects the promise with its error", async (t) => {
  const {configPath, release} = await runningApplication(t)
  const waiting = rollbridge.deploy({
    config: configPath,
    releasePath: release("one"),
    onProgress: () => {
      throw new RangeError("out of paper")
    }
  })
  await assert.rejects(waiting, RangeError)
})

test("an async callback that throws rejects the promise, and is not called again", async (t) => {
  const {configPath, release} = await runningApplication(t)
  let calls = 0
  const waiting = rollbridge.deploy({
    config: configPath,
    releasePath: release("one"),
    onProgress: async () => {
      calls += 1
      throw new RangeError("out of paper")
    }
  })
  await assert.rejects(waiting, RangeError)
  await rollbridge.deploy({config: configPath, releasePath: release("two"), wait: true})
  assert.equal(calls, 1)
})

test("a request that is no text is refused as one", async (t) => {
  const {configPath} = await smallApplication(t)
  const stopping = rollbridge.stop({config: configPath, releaseId: "\ud800"})
  await assert.rejects(stopping, {code: "invalid_request"})
})

test("without a daemon every command says so", async (t) => {
  const {configPath, release} = await smallApplication(t)
  const config = configPath
  await assert.rejects(rollbridge.status({config}), {code: "no_daemon"})
  await assert.rejects(rollbridge.stop({config}), {code: "no_daemon"})
  await assert.rejects(rollbridge.shutdown({config}), {code: "no_daemon"})
  await assert.rejects(rollbridge.deploy({config, releasePath: release("one")}), {code: "no_daemon"})
})

test("a deploy without a release path is the caller's mistake", async () => {
  await assert.rejects(rollbridge.deploy(/** @type {any} */ ({})), TypeError)
  await assert.rejects(/** @type {any} */ (rollbridge.deploy)(), TypeError)
})
