"use strict"

// The packages as users get them: packed, installed by npm into empty folders, used through every door.

const assert = require("node:assert/strict")
const {spawn} = require("node:child_process")
const {once} = require("node:events")
const fs = require("node:fs")
const path = require("node:path")
const {after, before, describe, test} = require("node:test")
const {currentTarget} = require("../lib/native.js")
const {version} = require("../package.json")
const {freePort, freePortRange} = require("./support/free-ports.js")
const {install, linkLikePnpm, packed, run, strangersEnvironment} = require("./support/installed-package.js")
const {makeTemporaryFolder, temporaryFolder, writeFiles} = require("./support/temporary-folder.js")
const {waitUntil} = require("./support/wait-until.js")

const target = currentTarget()

/** What is deployed: answers with the name of its release. */
const server = `require("node:http").createServer((request, response) => response.end(process.env.ROLLBRIDGE_RELEASE_ID))
  .listen(process.env.ROLLBRIDGE_PORT, "127.0.0.1")`

// For all of them together: on a busy machine npm takes its time, several times over.
describe("the packed packages", {timeout: 600_000}, () => {
  const folder = makeTemporaryFolder()
  /** @type {Awaited<ReturnType<typeof packed>>} */
  let packages
  // A path that quoting mistakes do not survive.
  const project = path.join(folder, "Mein schönes Projekt")

  before(async () => {
    packages = await packed(folder)
    writeFiles(project, {"package.json": '{"private": true}'})
    await install(project, [packages.root.file, packages.platform.file])
  })
  after(() => fs.rmSync(folder, {recursive: true, force: true}))

  test("hold what is needed, run nothing at installation, and depend on nothing else", (t) => {
    const {root, platform} = packages
    const names = root.files.map((file) => file.path)
    for (const needed of ["index.js", "index.d.ts", "config-loader.mjs", "bin/rollbridge.js", "LICENSE", "README.md"]) {
      assert.ok(names.includes(needed), `${needed} is missing`)
    }
    const manifest = JSON.parse(fs.readFileSync(path.join(project, "node_modules/rollbridge/package.json"), "utf8"))
    assert.deepEqual([manifest.scripts, manifest.dependencies, manifest.devDependencies], [undefined, undefined, undefined])
    const wanted = fs.readdirSync(path.join(__dirname, "../npm")).map((name) => [`rollbridge-${name}`, version])
    assert.deepEqual(Object.entries(manifest.optionalDependencies).sort(), wanted.sort())
    const installed = fs.readdirSync(path.join(project, "node_modules")).filter((name) => !name.startsWith("."))
    assert.deepEqual(installed, ["rollbridge", `rollbridge-${target}`])

    const binary = platform.files.find((file) => file.path === "rollbridge")
    assert.equal((binary?.mode ?? 0) & 0o777, 0o755)
    assert.deepEqual(
      platform.files.map((file) => file.path).sort(),
      ["LICENSE", "README.md", "package.json", "rollbridge", `rollbridge.${target}.node`]
    )
    assert.ok(root.size < 100 * 1024, `the root package has ${root.size} bytes`)
    const kib = (/** @type {number} */ bytes) => `${Math.ceil(bytes / 1024)} KiB`
    t.diagnostic(`packed: ${kib(root.size)} and, not optimised, ${kib(platform.size)}`)
  })

  test("can be required and imported", async () => {
    writeFiles(project, {
      "required.cjs": `const {validateConfig, RollbridgeError} = require("rollbridge")
        console.log(typeof validateConfig, RollbridgeError.name)`,
      "imported.mjs": `import rollbridge, {validateConfig} from "rollbridge"
        const web = {id: "web", policy: "proxied", command: "true", port: {from: 18182, to: 18299}}
        console.log(rollbridge.validateConfig === validateConfig, (await validateConfig({config: {processes: [web]}})).valid)`
    })
    assert.deepEqual(await run(project, process.execPath, ["required.cjs"]), {
      status: 0,
      stdout: "function RollbridgeError\n",
      stderr: ""
    })
    assert.deepEqual(await run(project, process.execPath, ["imported.mjs"]), {status: 0, stdout: "true true\n", stderr: ""})
  })

  test("run by the link in .bin and as the binary itself", async () => {
    const expected = {status: 0, stdout: `rollbridge ${version}\n`, stderr: ""}
    assert.deepEqual(await run(project, path.join(project, "node_modules/.bin/rollbridge"), ["--version"]), expected)
    const binary = path.join(project, "node_modules", `rollbridge-${target}`, "rollbridge")
    assert.deepEqual(await run(project, binary, ["--version"]), expected)
  })

  test("a deploy through npx, through the function and through the binary", async (t) => {
    const port = await freePort()
    const range = await freePortRange(10)
    const web = `{id: "web", policy: "proxied", command: "node server.cjs", port: ${JSON.stringify(range)}, health: {path: "/"}}`
    writeFiles(project, {
      "rollbridge.mjs": `import {defineConfig} from "rollbridge"
        export default defineConfig({control: {path: "control.sock"}, proxy: {port: ${port}}, processes: [${web}]})`,
      "a release/server.cjs": server,
      "deploy.mjs": `import {deploy} from "rollbridge"
        const phases = new Set()
        const onProgress = ({phase}) => phases.add(phase)
        const done = await deploy({releasePath: "a release", releaseId: "by-function", onProgress})
        console.log(done.activeReleaseId, phases.has("switch"))`
    })
    const env = strangersEnvironment()
    const command = path.join(project, "node_modules/.bin/rollbridge")
    const daemon = spawn(command, ["daemon"], {cwd: project, env, stdio: ["ignore", "pipe", "pipe"]})
    const ended = once(daemon, "exit")
    t.after(() => daemon.kill("SIGTERM"))
    let log = ""
    for (const stream of [daemon.stdout, daemon.stderr]) stream.on("data", (chunk) => (log += chunk))
    await waitUntil(`the daemon; it said ${log}`, () => log.includes("control socket listening"), 60_000)

    const serving = async () => (await fetch(`http://127.0.0.1:${port}/`)).text()
    const byNpx = await run(project, "npx", [
      "--no", "rollbridge", "deploy", "--release-path", "a release", "--release-id", "by-npx"
    ])
    assert.equal(JSON.parse(byNpx.stdout).activeReleaseId, "by-npx", byNpx.stderr)
    assert.equal(await serving(), "by-npx")

    const byFunction = await run(project, process.execPath, ["deploy.mjs"])
    assert.deepEqual(byFunction, {status: 0, stdout: "by-function true\n", stderr: ""})
    assert.equal(await serving(), "by-function")

    const binary = path.join(project, "node_modules", `rollbridge-${target}`, "rollbridge")
    const byBinary = await run(project, binary, ["deploy", "--release-path", "a release", "--release-id", "by-binary"])
    assert.equal(JSON.parse(byBinary.stdout).previousReleaseId, "by-function", byBinary.stderr)
    assert.equal(await serving(), "by-binary")

    assert.equal((await run(project, command, ["shutdown"])).status, 0)
    assert.deepEqual(await ended, [0, null])
    assert.equal(fs.existsSync(path.join(project, "control.sock")), false)
  })

  test("a config outside the project, and one in TypeScript", async (t) => {
    const elsewhere = temporaryFolder(t)
    const config = `{
      processes: [{id: "web", policy: "proxied", command: "x", port: {from: 18182, to: 18299}}]
    }`
    writeFiles(elsewhere, {"rollbridge.mjs": `export default ${config}`})
    writeFiles(project, {
      "typed.mts": `import {defineConfig, type RollbridgeConfig} from "rollbridge"
        const config: RollbridgeConfig = ${config}
        export default defineConfig(config)`,
      "validate.mjs": `import {validateConfig} from "rollbridge"
        const told = ({code, message}) => ({valid: code + ": " + message})
        console.log((await validateConfig({config: process.argv[2]}).catch(told)).valid)`
    })
    const validated = (/** @type {string} */ file) =>
      Promise.all([
        run(project, path.join(project, "node_modules/.bin/rollbridge"), ["validate", "--config", file]),
        run(project, process.execPath, ["validate.mjs", file])
      ])
    const [printed, found] = await validated(path.join(elsewhere, "rollbridge.mjs"))
    assert.equal(printed.status, 0, printed.stderr)
    assert.equal(found.stdout, "true\n")

    const [typed, typedFound] = await validated("typed.mts")
    if (/** @type {any} */ (process.features).typescript) {
      assert.equal(typed.status, 0, typed.stderr)
      assert.equal(typedFound.stdout, "true\n")
    } else {
      assert.equal(typed.status, 1)
      assert.match(typed.stderr, /cannot run TypeScript; use Node 22\.18 or newer/)
      assert.match(typedFound.stdout, /^config_unreadable: .*cannot run TypeScript; use Node 22\.18 or newer/)
    }
  })

  test("linked as pnpm links them", async (t) => {
    const linked = temporaryFolder(t, {"package.json": "{}"})
    await linkLikePnpm(linked, packages)
    const launcher = path.join(linked, "node_modules/rollbridge/bin/rollbridge.js")
    assert.deepEqual(await run(linked, process.execPath, [launcher, "--version"]), {
      status: 0,
      stdout: `rollbridge ${version}\n`,
      stderr: ""
    })
    const use = 'require("rollbridge").validateConfig({config: {processes: []}}).then(({valid}) => console.log(valid))'
    writeFiles(linked, {"use.cjs": use})
    assert.equal((await run(linked, process.execPath, ["use.cjs"])).stdout, "false\n")
  })

  test("native parts that are missing, foreign or of another version are one clear error", async (t) => {
    const copy = temporaryFolder(t)
    fs.cpSync(path.join(project, "node_modules"), path.join(copy, "node_modules"), {recursive: true})
    const native = path.join(copy, "node_modules", `rollbridge-${target}`)
    const both = async (/** @type {RegExp} */ expected) => {
      const launched = await run(copy, process.execPath, ["node_modules/rollbridge/bin/rollbridge.js", "--version"])
      assert.deepEqual([launched.status, launched.stdout], [1, ""])
      assert.match(launched.stderr, expected)
      assert.ok(!/^ +at /m.test(launched.stderr), launched.stderr)
      const use = 'require("rollbridge").validateConfig({config: {processes: []}}).catch(({message}) => console.log(message))'
      assert.match((await run(copy, process.execPath, ["-e", use])).stdout, expected)
    }

    const manifest = JSON.parse(fs.readFileSync(path.join(native, "package.json"), "utf8"))
    writeFiles(native, {"package.json": JSON.stringify({...manifest, version: "9.9.9"})})
    await both(new RegExp(`has version ${version}, but its native parts in rollbridge-${target} have version 9\\.9\\.9`))

    const foreign = target.startsWith("darwin") ? "linux-x64-gnu" : "darwin-arm64"
    fs.renameSync(native, path.join(copy, "node_modules", `rollbridge-${foreign}`))
    await both(new RegExp(`rollbridge-${target}, .* is not installed \\(but rollbridge-${foreign} is\\)`))

    // The right name with the wrong content, as an emulated installation can leave it.
    fs.renameSync(path.join(copy, "node_modules", `rollbridge-${foreign}`), native)
    writeFiles(native, {"package.json": JSON.stringify(manifest)})
    for (const name of ["rollbridge", `rollbridge.${target}.node`]) {
      fs.writeFileSync(path.join(native, name), Buffer.from("\x7fELF\x02\x01\x01 of another machine"), {mode: 0o755})
    }
    const launched = await run(copy, process.execPath, ["node_modules/rollbridge/bin/rollbridge.js", "--version"])
    assert.equal(launched.status, 1)
    assert.match(launched.stderr, /^error: cannot run .*rollbridge: it is no program for [^\n]+\n$/)
  })
})
