"use strict"

const assert = require("node:assert/strict")
const {spawn, spawnSync} = require("node:child_process")
const {once} = require("node:events")
const fs = require("node:fs")
const path = require("node:path")
const {test} = require("node:test")
const {currentTarget, findBinary} = require("../lib/native.js")
const {version} = require("../package.json")
const {requireTool} = require("./support/required-tool.js")
const {smallApplication} = require("./support/small-application.js")
const {temporaryFolder, writeFiles} = require("./support/temporary-folder.js")
const {waitUntil} = require("./support/wait-until.js")

const launcher = path.join(__dirname, "..", "bin", "rollbridge.js")

/**
 * @param {import("node:test").TestContext} t
 * @param {string[]} args Node's, beginning with the script
 * @param {NodeJS.ProcessEnv} [env]
 */
function start(t, args, env = {}) {
  const child = spawn(process.execPath, args, {env: {...process.env, ...env}, stdio: ["ignore", "pipe", "pipe"]})
  const started = {child, stdout: "", stderr: "", ended: once(child, "close")}
  child.stdout.on("data", (chunk) => {
    started.stdout += chunk
  })
  child.stderr.on("data", (chunk) => {
    started.stderr += chunk
  })
  t.after(async () => {
    // A polite end first: if the launcher did not become the daemon, it must pass this on.
    child.kill("SIGTERM")
    const timeout = setTimeout(() => child.kill("SIGKILL"), 5000)
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit")
    clearTimeout(timeout)
    child.stdout.destroy()
    child.stderr.destroy()
  })
  return started
}

/**
 * An installation without an addon, so that the launcher takes its second road, and a shell script in place of the binary.
 *
 * @param {import("node:test").TestContext} t
 * @param {string} script
 */
function installationWithoutAddon(t, script) {
  const folder = temporaryFolder(t, {"stand-in": `#!/bin/sh\n${script}\n`})
  const root = path.dirname(path.dirname(launcher))
  for (const name of ["bin", "lib", "package.json"]) fs.cpSync(path.join(root, name), path.join(folder, name), {recursive: true})
  fs.chmodSync(path.join(folder, "stand-in"), 0o755)
  return {script: path.join(folder, "bin", "rollbridge.js"), env: {ROLLBRIDGE_BINARY: path.join(folder, "stand-in")}}
}

/**
 * Both roads, with a shell script in place of the binary: the launcher becomes it, or runs it as a child.
 *
 * @typedef {(t: import("node:test").TestContext, script: string) => {script: string, env: {ROLLBRIDGE_BINARY: string}}} Road
 * @type {[string, Road][]}
 */
const roads = [
  ["as the binary", (t, script) => ({...installationWithoutAddon(t, script), script: launcher})],
  ["with the binary as a child", installationWithoutAddon]
]

for (const [road, prepare] of roads) {
  test(`${road}: arguments, environment and exit status pass through`, async (t) => {
    const {script, env} = prepare(t, 'echo "$#|$1|$2|$3|$ROLLBRIDGE_NODE|$MARK"; exit 7')
    const started = start(t, [script, "a b", "", "--c=ü"], {...env, MARK: "*"})
    assert.deepEqual(await started.ended, [7, null])
    assert.equal(started.stdout, `3|a b||--c=ü|${process.execPath}|*\n`)
    assert.equal(started.stderr, "")
  })

  test(`${road}: stdin and stdout are its own, also when much goes through and the reader is slow`, async (t) => {
    const {script, env} = prepare(t, "exec cat")
    const child = spawn(process.execPath, [script], {env: {...process.env, ...env}, stdio: ["pipe", "pipe", "inherit"]})
    t.after(() => child.kill("SIGKILL"))
    const sent = Buffer.alloc(3_000_000, "0123456789abcdef\n")
    child.stdin.end(sent)
    await once(child.stdout, "readable")
    const received = []
    for await (const chunk of child.stdout) received.push(chunk)
    assert.equal(Buffer.compare(Buffer.concat(received), sent), 0)
  })

  test(`${road}: a terminal stays one`, async (t) => {
    if (process.platform !== "linux" || !requireTool(t, "script")) {
      if (process.platform !== "linux") t.skip("the program script takes other arguments here")
      return
    }
    const {script, env} = prepare(t, "test -t 0 && test -t 1 && test -t 2 && exec stty -a < /dev/tty")
    const typed = path.join(temporaryFolder(t), "typed")
    const command = `'${process.execPath}' '${script}'`
    const child = spawn("script", ["-qec", command, typed], {env: {...process.env, ...env}, stdio: ["ignore", "pipe", "pipe"]})
    t.after(() => child.kill("SIGKILL"))
    let output = ""
    child.stdout.on("data", (chunk) => (output += chunk))
    assert.deepEqual(await once(child, "close"), [0, null], output)
    // Left in the mode Node found it: it echoes, and Ctrl-C is a signal.
    assert.match(output, /(^|\s)isig\b/)
    assert.match(output, /(^|\s)echo\b/)
  })

  test(`${road}: a death by signal is one`, async (t) => {
    const {script, env} = prepare(t, "kill -KILL $$")
    assert.deepEqual(await start(t, [script], env).ended, [null, "SIGKILL"])
  })

  for (const signal of /** @type {NodeJS.Signals[]} */ (["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR2"])) {
    test(`${road}: ${signal} arrives, and its end is waited for`, async (t) => {
      const name = signal.slice("SIG".length)
      const stop = `trap 'echo got ${name}; kill $child; exit 5' ${name}; sleep 60 & child=$!; echo ready; wait`
      const {script, env} = prepare(t, stop)
      const started = start(t, [script], env)
      await waitUntil("the stand-in", () => started.stdout.includes("ready"))
      started.child.kill(signal)
      assert.deepEqual(await started.ended, [5, null])
      assert.match(started.stdout, new RegExp(`got ${name}`))
    })
  }
}

test("what is not UTF-8 in an argument or a variable reaches the binary byte for byte", async (t) => {
  const {env} = installationWithoutAddon(t, "printf '%s|%s' \"$1\" \"$MARK\"")
  const shell = `MARK=$(printf 'm\\377') exec '${process.execPath}' '${launcher}' "$(printf 'a\\376')"`
  const child = spawn("/bin/sh", ["-c", shell], {env: {...process.env, ...env}, stdio: ["ignore", "pipe", "inherit"]})
  const received = []
  for await (const chunk of child.stdout) received.push(chunk)
  assert.equal(Buffer.concat(received).toString("latin1"), "a\xfe|m\xff")
})

test("--version is that of the package", async (t) => {
  const started = start(t, [launcher, "--version"])
  assert.deepEqual(await started.ended, [0, null])
  assert.match(started.stdout, new RegExp(`\\b${version.replaceAll(".", "\\.")}\\b`))
  assert.equal(started.stderr, "")
})

test("arguments and exit status are the binary's own", async (t) => {
  const {configPath} = await smallApplication(t)
  const withoutDaemon = start(t, [launcher, "status", "--config", configPath])
  assert.deepEqual(await withoutDaemon.ended, [3, null])
  assert.equal(withoutDaemon.stdout, "")
  const misused = start(t, [launcher, "no-such-command"])
  assert.deepEqual(await misused.ended, [2, null])
})

test("the launcher becomes the daemon: same pid, same signals", async (t) => {
  if (process.platform !== "linux") {
    t.skip("needs /proc")
    return
  }
  const {configPath, controlPath} = await smallApplication(t)
  const {child, ended} = start(t, [launcher, "daemon", "--config", configPath])
  await waitUntil("the control socket", () => fs.existsSync(controlPath))
  assert.equal(fs.readlinkSync(`/proc/${child.pid}/exe`), fs.realpathSync(findBinary()))
  child.kill("SIGTERM")
  assert.deepEqual(await ended, [0, null])
  assert.equal(fs.existsSync(controlPath), false)
})

test("a binary that cannot be run is one clear error", async (t) => {
  const {script, env} = installationWithoutAddon(t, "")
  fs.chmodSync(env.ROLLBRIDGE_BINARY, 0o644)
  const started = start(t, [script], env)
  assert.deepEqual(await started.ended, [1, null])
  assert.match(started.stderr, /^error: cannot run .*stand-in: .*EACCES/)
})

test("ROLLBRIDGE_BINARY must exist", async (t) => {
  const started = start(t, [launcher, "--version"], {ROLLBRIDGE_BINARY: "/does/not/exist"})
  assert.deepEqual(await started.ended, [1, null])
  assert.match(started.stderr, /ROLLBRIDGE_BINARY names \/does\/not\/exist, which does not exist/)
})

test("a missing platform package is named, with the platform and what to do", async (t) => {
  const {script} = installationWithoutAddon(t, "")
  const started = start(t, [script, "--version"], {ROLLBRIDGE_BINARY: "", CARGO_TARGET_DIR: ""})
  assert.deepEqual(await started.ended, [1, null])
  assert.match(started.stderr, new RegExp(`the package rollbridge-${currentTarget()}\\b`))
  assert.match(started.stderr, new RegExp(`this platform \\(${currentTarget()}\\)`))
  assert.match(started.stderr, /npm install/)
})

test("the platform is known also when Node has been replaced while it runs", async (t) => {
  const folder = temporaryFolder(t)
  const copy = path.join(folder, "node")
  fs.copyFileSync(process.execPath, copy)
  const native = require.resolve("../lib/native.js")
  const script = `require("fs").unlinkSync(process.execPath); console.log(require(${JSON.stringify(native)}).currentTarget())`
  const {status, stdout, stderr} = spawnSync(copy, ["-e", script], {encoding: "utf8"})
  assert.deepEqual([status, stdout, stderr], [0, `${currentTarget()}\n`, ""])
})

test("Windows is refused in one sentence", async (t) => {
  const folder = temporaryFolder(t)
  writeFiles(folder, {"windows.cjs": 'Object.defineProperty(process, "platform", {value: "win32"})'})
  const started = start(t, ["--require", path.join(folder, "windows.cjs"), launcher, "--version"])
  assert.deepEqual(await started.ended, [1, null])
  assert.match(started.stderr, /^error: rollbridge does not run on Windows[^\n]*\n$/)
})
