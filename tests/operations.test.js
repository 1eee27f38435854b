"use strict"

// The functions behind which the native binary works: what it is asked, and what becomes of its answer. A stand-in shows
// the first, tests with the real binary the second.

const assert = require("node:assert/strict")
const fs = require("node:fs")
const path = require("node:path")
const {test} = require("node:test")
const rollbridge = require("..")
const {smallApplication} = require("./support/small-application.js")
const {temporaryFolder} = require("./support/temporary-folder.js")

const chosenBefore = process.env.ROLLBRIDGE_BINARY

/**
 * Puts a script in place of the binary. It leaves its arguments, one a line, and the config it was given.
 *
 * @param {import("node:test").TestContext} t
 * @param {string} folder
 * @param {string} script
 */
function standIn(t, folder, script) {
  const binary = path.join(folder, "stand-in")
  const record = `printf '%s\\n' "$@" > '${folder}/arguments'; test -f "$3" && cp "$3" '${folder}/config-used'`
  fs.writeFileSync(binary, `#!/bin/sh\n${record}\n${script}\n`, {mode: 0o755})
  process.env.ROLLBRIDGE_BINARY = binary
  t.after(() => {
    if (chosenBefore === undefined) delete process.env.ROLLBRIDGE_BINARY
    else process.env.ROLLBRIDGE_BINARY = chosenBefore
  })
  return {
    arguments: () => fs.readFileSync(path.join(folder, "arguments"), "utf8").trimEnd().split("\n"),
    config: () => JSON.parse(fs.readFileSync(path.join(folder, "config-used"), "utf8"))
  }
}

test("ensureDaemon passes its options on, and resolves to the status", async (t) => {
  const {configPath, folder} = await smallApplication(t)
  const binary = standIn(t, folder, "echo '{\"status\": \"success\", \"application\": \"small\"}'")
  const status = await rollbridge.ensureDaemon({
    config: configPath,
    daemonLogPath: "log",
    daemonPidPath: "pid file",
    daemonRuntimePath: "runtime",
    daemonStartTimeoutMs: 1500
  })
  assert.deepEqual(status, {application: "small"})
  assert.deepEqual(binary.arguments(), [
    "ensure-daemon",
    "--config",
    configPath,
    "--json",
    "--daemon-log-path=log",
    "--daemon-pid-path=pid file",
    "--daemon-runtime-path=runtime",
    "--daemon-start-timeout-ms=1500"
  ])
})

test("ensureDaemon needs the path of a config that is valid", async (t) => {
  const {folder} = await smallApplication(t)
  standIn(t, folder, "exit 1")
  await assert.rejects(rollbridge.ensureDaemon(/** @type {any} */ ({config: {}})), TypeError)
  fs.writeFileSync(path.join(folder, "wrong.json"), "{}")
  await assert.rejects(rollbridge.ensureDaemon({config: path.join(folder, "wrong.json")}), {code: "invalid_config"})
})

test("doctor passes its options on, and a bad report is a result", async (t) => {
  const {configPath, folder} = await smallApplication(t)
  const report = {checks: [{name: "proxy port", ok: false, detail: "taken"}], ok: false}
  const binary = standIn(t, folder, `echo '${JSON.stringify(report)}'; exit 1`)
  assert.deepEqual(await rollbridge.doctor({config: configPath, releasePath: "r", releaseId: "v1", revision: "abc"}), report)
  const release = ["--release-path=r", "--release-id=v1", "--revision=abc"]
  assert.deepEqual(binary.arguments(), ["doctor", "--config", configPath, "--json", ...release])
  await rollbridge.doctor()
  assert.deepEqual(binary.arguments(), ["doctor", "--json"])
})

test("predeployCleanup passes its options on", async (t) => {
  const {configPath, folder} = await smallApplication(t)
  const result = {action: "no-daemon-cleaned", legacyProcesses: [], recoveredOrphans: []}
  const binary = standIn(t, folder, `echo '${JSON.stringify(result)}'`)
  assert.deepEqual(await rollbridge.predeployCleanup({config: configPath, releasePath: "r"}), result)
  assert.deepEqual(binary.arguments(), ["predeploy-cleanup", "--config", configPath, "--json", "--release-path=r"])
})

test("a config object reaches the binary as a private file, with what its place decides written out", async (t) => {
  const folder = temporaryFolder(t)
  const binary = standIn(t, folder, `stat -c %a "$3" > '${folder}/mode' || stat -f %Lp "$3" > '${folder}/mode'; echo '{}'`)
  const web = {id: "web", policy: /** @type {const} */ ("proxied"), command: "true", port: {from: 18182, to: 18299}}
  await rollbridge.doctor({config: {control: {path: "control.sock"}, statePath: "state.json", processes: [web]}})
  const used = binary.arguments()[2]
  assert.equal(fs.existsSync(used), false)
  assert.equal(fs.readFileSync(path.join(folder, "mode"), "utf8").trim(), "600")
  assert.deepEqual(binary.config(), {
    application: path.basename(process.cwd()),
    control: {path: path.resolve("control.sock")},
    statePath: path.resolve("state.json"),
    processes: [web]
  })
})

test("errors of the binary keep their code, and what it only says on stderr its words", async (t) => {
  const {configPath: config, folder} = await smallApplication(t)
  const refusal = {error: "a daemon listens", code: "internal", pid: 7}
  standIn(t, folder, `echo '${JSON.stringify(refusal)}'; exit 1`)
  const expected = {name: "RollbridgeError", message: "a daemon listens", code: "internal", pid: 7}
  await assert.rejects(rollbridge.recover({config}), expected)
  for (const [status, code] of /** @type {const} */ ([[1, "internal"], [3, "no_daemon"], [4, "connection_lost"]])) {
    standIn(t, folder, `echo 'rollbridge: something is wrong' >&2; exit ${status}`)
    await assert.rejects(rollbridge.ensureDaemon({config}), {message: "something is wrong", code})
  }
  standIn(t, folder, "kill -KILL $$")
  const killed = {message: "rollbridge ensure-daemon ended with SIGKILL", code: "internal"}
  await assert.rejects(rollbridge.ensureDaemon({config}), killed)
})

test("recover lists and stops through the real binary", async (t) => {
  const {configPath, folder} = await smallApplication(t)
  await assert.rejects(rollbridge.recover({config: configPath}), {code: "invalid_config", message: /statePath/})
  const config = {...(await rollbridge.loadConfig({config: configPath})), statePath: path.join(folder, "state.json")}
  const nothing = {orphans: [], remaining: [], cleared: false}
  assert.deepEqual(await rollbridge.recover({config}), {...nothing, forced: false})
  assert.deepEqual(await rollbridge.recover({config, force: true}), {...nothing, forced: true})
})
