"use strict"

const assert = require("node:assert/strict")
const {execFileSync, spawnSync} = require("node:child_process")
const fs = require("node:fs")
const path = require("node:path")
const {test} = require("node:test")
const {targets} = require("../lib/native.js")
const manifest = require("../package.json")
const lock = require("../package-lock.json")

const root = path.join(__dirname, "..")

/** @param {string} target */
const platformManifest = (target) =>
  JSON.parse(fs.readFileSync(path.join(root, "npm", target, "package.json"), "utf8"))

test("every platform has a package, and every package a platform", () => {
  assert.deepEqual(fs.readdirSync(path.join(root, "npm")).sort(), [...targets].sort())
})

for (const target of targets) {
  test(`the package of ${target} holds its native parts and goes nowhere else`, () => {
    const {name, version, files, os, cpu, libc, license} = platformManifest(target)
    const [system, processor, library] = target.split("-")
    assert.equal(name, `rollbridge-${target}`)
    assert.equal(version, manifest.version)
    assert.equal(license, manifest.license)
    assert.deepEqual(files, ["rollbridge", `rollbridge.${target}.node`])
    assert.deepEqual(os, [system])
    assert.deepEqual(cpu, [processor])
    assert.deepEqual(libc, {gnu: ["glibc"], musl: ["musl"]}[library])
  })
}

test("the package, the crate and the lock file have one version", () => {
  const crate = /^version = "(.+)"$/m.exec(fs.readFileSync(path.join(root, "Cargo.toml"), "utf8"))
  assert.equal(crate?.[1], manifest.version)
  assert.equal(lock.version, manifest.version)
})

test("nothing runs at installation, here or in any dependency", () => {
  for (const name of ["preinstall", "install", "postinstall", "prepare"]) {
    assert.equal(/** @type {Record<string, string>} */ (manifest.scripts)[name], undefined)
  }
  const withScript = Object.entries(lock.packages).filter(([, entry]) => "hasInstallScript" in entry)
  assert.deepEqual(withScript, [])
})

test("editors and programs can find the schema through the package", () => {
  assert.equal(require("rollbridge/schema/rollbridge.schema.json").title, "Rollbridge config")
})

test("a build without cargo says what is missing, without a stack", () => {
  const script = path.join(root, "scripts", "build.mjs")
  const {status, stderr} = spawnSync(process.execPath, [script], {encoding: "utf8", env: {PATH: "/nowhere"}})
  assert.equal(status, 1)
  assert.match(stderr, /^error: cargo was not found: [^\n]*\n$/)
})

test("the packed package holds what its users need, and no more", () => {
  const output = execFileSync("npm", ["pack", "--dry-run", "--json"], {cwd: root, encoding: "utf8"})
  const [{files}] = JSON.parse(output)
  const names = files.map((/** @type {{path: string}} */ file) => file.path)
  const schema = "schema/rollbridge.schema.json"
  for (const needed of ["index.js", "index.d.ts", "config-loader.mjs", "bin/rollbridge.js", "LICENSE", schema]) {
    assert.ok(names.includes(needed), `${needed} is missing`)
  }
  const surplus = names.filter((/** @type {string} */ name) => /^(src|tests|scripts|target|npm|examples)\//.test(name))
  assert.deepEqual(surplus, [])
})
