"use strict"

const assert = require("node:assert/strict")
const {execFileSync} = require("node:child_process")
const fs = require("node:fs")
const path = require("node:path")
const {test} = require("node:test")
const {RollbridgeError, defineConfig, loadConfig, validateConfig} = require("..")
const {temporaryFolder, writeFiles} = require("./support/temporary-folder.js")

const web = {id: "web", policy: /** @type {const} */ ("proxied"), command: "true", port: {from: 18182, to: 18299}}

test("defineConfig returns its argument", () => {
  const config = defineConfig({processes: [web]})
  assert.deepEqual(config, {processes: [web]})
})

test("an object is validated as it is", async () => {
  const result = await validateConfig({config: {application: "tickets", proxy: {port: 8400}, processes: [web]}})
  assert.equal(result.valid, true)
  assert.equal(result.path, null)
  assert.deepEqual(result.issues, [])
  assert.equal(result.config?.application, "tickets")
  assert.equal(result.config?.processes, 1)
  assert.deepEqual(result.config?.proxy, {host: "127.0.0.1", port: 8400})
  assert.equal(result.config?.control.path, "/tmp/rollbridge-tickets.sock")
})

test("every issue comes with a fix, and there is no config then", async () => {
  const result = await validateConfig({config: {processes: []}})
  assert.equal(result.valid, false)
  assert.equal(result.config, null)
  assert.ok(result.issues.some(({message}) => /exactly one proxied process; found 0/.test(message)))
  for (const {fix} of result.issues) assert.notEqual(fix, "")
})

test("what is not JSON is an issue that names its place", async () => {
  const command = /** @type {any} */ (() => "true")
  const result = await validateConfig({config: {processes: [{...web, command}]}})
  assert.equal(result.valid, false)
  assert.ok(result.issues.some(({message}) => /processes.*command/.test(message)), JSON.stringify(result.issues))
})

const forms = {
  "rollbridge.mjs": `export default ${JSON.stringify({processes: [web]})}`,
  "rollbridge.cjs": `module.exports = async () => (${JSON.stringify({processes: [web]})})`,
  "rollbridge.json": JSON.stringify({processes: [web]})
}

for (const [name, content] of Object.entries(forms)) {
  test(`${name} is loaded, with what it leaves out filled in`, async (t) => {
    const folder = temporaryFolder(t, {[name]: content})
    const config = await loadConfig({config: path.join(folder, name)})
    assert.equal(config.application, path.basename(folder))
    assert.equal(config.control.path, `/tmp/rollbridge-${path.basename(folder)}.sock`)
    assert.deepEqual(config.processes, [web])
  })
}

test("paths in a loaded config are absolute, so that it can be passed on", async (t) => {
  const relative = {control: {path: "run/control.sock"}, statePath: "run/state.json", processes: [web]}
  const folder = temporaryFolder(t, {"rollbridge.json": JSON.stringify(relative)})
  const config = await loadConfig({config: path.join(folder, "rollbridge.json")})
  assert.equal(config.control.path, path.join(folder, "run/control.sock"))
  assert.equal(config.statePath, path.join(folder, "run/state.json"))
})

test("a path goes up from where a link leads", async (t) => {
  const folder = temporaryFolder(t, {
    "real/inner/file": "",
    "real/rollbridge.mjs": `export default {processes: [${JSON.stringify(web)}]}`
  })
  fs.symlinkSync("real/inner", path.join(folder, "link"))
  assert.equal((await loadConfig({config: `${folder}/link/../rollbridge.mjs`})).application, "real")
})

test("each load re-reads the file and what it imports", async (t) => {
  const folder = temporaryFolder(t, {
    "name.mjs": 'export const application = "before"',
    "rollbridge.mjs": `import {application} from "./name.mjs"
      export default {application, processes: [${JSON.stringify(web)}]}`
  })
  const config = path.join(folder, "rollbridge.mjs")
  assert.equal((await loadConfig({config})).application, "before")
  writeFiles(folder, {"name.mjs": 'export const application = "after"'})
  assert.equal((await loadConfig({config})).application, "after")
})

test("a config module sees its own folder as the working directory", async (t) => {
  const folder = temporaryFolder(t, {
    "rollbridge.cjs": `module.exports = {
      control: {path: require("node:path").resolve("here.sock")}, processes: [${JSON.stringify(web)}]
    }`
  })
  const config = await loadConfig({config: path.join(folder, "rollbridge.cjs")})
  assert.equal(config.control.path, path.join(folder, "here.sock"))
})

test("an invalid config rejects with all its issues", async () => {
  await assert.rejects(loadConfig({config: {processes: []}}), (/** @type {any} */ error) => {
    assert.equal(error.code, "invalid_config")
    assert.match(error.message, /exactly one proxied process; found 0/)
    assert.ok(error.issues.length > 0)
    return true
  })
})

const unreadable = {
  "that throws": ['throw new Error("no database")', /no database/],
  "that exits": ["process.exit(0)", /exit status 0/],
  "that never finishes": ["await new Promise(() => {})", /never/],
  "that is no JavaScript": ["export default {", /SyntaxError/]
}

for (const [what, [content, message]] of Object.entries(unreadable)) {
  test(`a config ${what} is unreadable, and the error names the file`, async (t) => {
    const folder = temporaryFolder(t, {"rollbridge.mjs": String(content)})
    const config = path.join(folder, "rollbridge.mjs")
    await assert.rejects(validateConfig({config}), (/** @type {any} */ error) => {
      assert.equal(error.code, "config_unreadable")
      assert.match(error.message, /** @type {RegExp} */ (message))
      assert.ok(error.message.includes(config), error.message)
      return true
    })
  })
}

/** What both roads must not read, and the beginning of what they say about it. @type {Record<string, [string, RegExp]>} */
const badJson = {
  "with a secret": ['{"a": s3cret}', /^cannot read the config .*: expected value at line 1 column 7$/],
  "with a number too large": ['{"proxy": {"port": 1e999}}', /number out of range/],
  "with half of a character": ['{"application": "\\ud800"}', /line 1/],
  "nested too deep": [`${"[".repeat(5000)}${"]".repeat(5000)}`, /recursion limit/]
}

for (const [what, [content, message]] of Object.entries(badJson)) {
  test(`JSON ${what} is unreadable in the words of the command line`, async (t) => {
    const folder = temporaryFolder(t, {"rollbridge.json": content})
    await assert.rejects(validateConfig({config: path.join(folder, "rollbridge.json")}), (/** @type {any} */ error) => {
      assert.ok(error instanceof RollbridgeError)
      assert.equal(error.code, "config_unreadable")
      assert.match(error.message, message)
      assert.doesNotMatch(error.message, /s3cret/)
      return true
    })
  })
}

test("JSON with a byte order mark is read", async (t) => {
  const folder = temporaryFolder(t, {"rollbridge.json": `\ufeff${JSON.stringify({processes: [web]})}`})
  assert.equal((await validateConfig({config: path.join(folder, "rollbridge.json")})).valid, true)
})

/** @type {Record<string, string>} */
const withSecret = {
  "identifier.mjs": "export default {a: 1 s3cret}",
  "string.cjs": "module.exports = {a: 's3cret' 's3cret'}",
  "json.mjs": 'export default JSON.parse(\'{"password": "s3cret", x}\')',
  "later.mjs": 'setTimeout(() => JSON.parse("s3cret")); await new Promise((done) => setTimeout(done, 2000)); export default {}'
}

for (const [name, content] of Object.entries(withSecret)) {
  test(`a syntax error keeps the text of ${name} to itself`, async (t) => {
    const config = path.join(temporaryFolder(t, {[name]: content}), name)
    await assert.rejects(validateConfig({config}), (/** @type {any} */ error) => {
      assert.equal(error.code, "config_unreadable")
      assert.match(error.message, /SyntaxError: .*\(at .*:\d+/)
      assert.doesNotMatch(error.message, /s3cret/)
      return true
    })
  })
}

test("a folder and an unknown ending are refused in the words of the command line", async (t) => {
  const folder = temporaryFolder(t, {"rollbridge.yaml": ""})
  await assert.rejects(validateConfig({config: folder}), {code: "config_unreadable", message: /^cannot read the config/})
  const yaml = path.join(folder, "rollbridge.yaml")
  await assert.rejects(validateConfig({config: yaml}), {code: "config_unreadable", message: /a config is a \.js,/})
})

test("the caller's loaders work for the config, also in a program given as text", async (t) => {
  const folder = temporaryFolder(t, {
    "preload.cjs": 'globalThis.fromPreload = "preloaded"',
    "rollbridge.mjs": `export default {application: globalThis.fromPreload, processes: [${JSON.stringify(web)}]}`
  })
  const program = `import {loadConfig} from ${JSON.stringify(path.join(__dirname, "..", "index.js"))}
    console.log((await loadConfig({config: ${JSON.stringify(path.join(folder, "rollbridge.mjs"))}})).application)`
  for (const options of [["--input-type=module", "--eval"], ["--input-type", "module", "-e"]]) {
    const args = ["--max-old-space-size=300", "--require", path.join(folder, "preload.cjs"), ...options, program]
    const env = {...process.env, NODE_OPTIONS: "--input-type=module --max-old-space-size=200"}
    assert.equal(execFileSync(process.execPath, args, {encoding: "utf8", env}), "preloaded\n")
  }
})

test("a config module may change its directory", async (t) => {
  const folder = temporaryFolder(t, {
    "inner/file": "",
    "rollbridge.cjs": `process.chdir("inner")
      module.exports = {statePath: require("node:path").resolve("state"), processes: [${JSON.stringify(web)}]}`
  })
  const config = await loadConfig({config: path.join(folder, "rollbridge.cjs")})
  assert.equal(config.statePath, path.join(folder, "inner/state"))
})

test("a config that does not exist is unreadable", async (t) => {
  const config = path.join(temporaryFolder(t), "absent.js")
  await assert.rejects(validateConfig({config}), {code: "config_unreadable"})
})

test("a config of the wrong type is the caller's mistake", async () => {
  await assert.rejects(validateConfig({config: /** @type {any} */ (7)}), TypeError)
})
