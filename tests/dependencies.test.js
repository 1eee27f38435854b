"use strict"

// Where the dependencies come from, and under which licences. Whether weaknesses of them are known is asked by
// `cargo deny` and `npm audit`, which need the network; see scripts/test.mjs.

const assert = require("node:assert/strict")
const {execFileSync} = require("node:child_process")
const fs = require("node:fs")
const path = require("node:path")
const {test} = require("node:test")

const root = path.join(__dirname, "..")
const read = (/** @type {string} */ name) => fs.readFileSync(path.join(root, name), "utf8")

/** The licences in deny.toml. */
const allowed = JSON.parse(String(/^allow = (\[.*\])$/m.exec(read("deny.toml"))?.[1]))
/** What only tools of development and examples have. */
const allowedInTools = [...allowed, "BlueOak-1.0.0", "0BSD", "CC0-1.0", "Python-2.0", "CC-BY-4.0"]

/**
 * Whether one of the licences that an expression offers may be used.
 *
 * @param {string} expression `MIT OR Apache-2.0`, `(MIT OR Zlib) AND Unicode-3.0`, or the old `MIT/Apache-2.0`
 * @param {string[]} licences
 * @returns {boolean}
 */
function permits(expression, licences) {
  const parts = expression.replaceAll("/", " OR ").replaceAll(/[()]/g, "").split(" AND ")
  return parts.every((part) => part.split(" OR ").some((licence) => licences.includes(licence.trim())))
}

test("licence expressions are understood", () => {
  assert.ok(permits("MIT OR GPL-3.0", ["MIT"]))
  assert.ok(permits("MIT/Apache-2.0", ["Apache-2.0"]))
  assert.ok(permits("(MIT OR Apache-2.0) AND Unicode-3.0", ["MIT", "Unicode-3.0"]))
  assert.ok(!permits("MIT AND GPL-3.0", ["MIT"]))
  assert.ok(!permits("GPL-3.0", ["MIT"]))
})

test("every crate comes from crates.io with its checksum", () => {
  const packages = read("Cargo.lock").split("[[package]]").slice(1)
  for (const text of packages) {
    const name = /^name = "(.*)"$/m.exec(text)?.[1]
    if (name === "rollbridge") continue
    assert.match(text, /^source = "registry\+https:\/\/github.com\/rust-lang\/crates.io-index"$/m, name)
    assert.match(text, /^checksum = "[0-9a-f]{64}"$/m, name)
  }
  assert.ok(packages.length > 50)
})

test("every crate has a licence that may be used", () => {
  const host = /^host: (.*)$/m.exec(execFileSync("rustc", ["-vV"], {encoding: "utf8"}))?.[1]
  const args = ["metadata", "--format-version", "1", "--locked", "--all-features", "--filter-platform", String(host)]
  const metadata = JSON.parse(execFileSync("cargo", args, {cwd: root, encoding: "utf8", maxBuffer: 64 * 1024 * 1024}))
  /** @type {{name: string, license: string | null}[]} */
  const crates = metadata.packages
  const refused = crates.filter(({license}) => !permits(license ?? "none", allowed))
  assert.deepEqual(refused.map(({name, license}) => `${name}: ${license}`), [])
  assert.ok(crates.length > 50)
})

test("every npm package comes from npm with its checksum, and has a licence that may be used", () => {
  /** @type {[string, {resolved?: string, integrity?: string, license?: string, link?: boolean}][]} */
  const packages = Object.entries(JSON.parse(read("package-lock.json")).packages)
  const installed = packages.filter(([name, {link}]) => name.includes("node_modules/") && !link)
  for (const [name, {resolved, integrity, license}] of installed) {
    // Without an address it is the registry that npm is set up for.
    assert.match(resolved ?? "https://registry.npmjs.org/", /^https:\/\/registry\.npmjs\.org\//, name)
    assert.match(String(integrity), /^sha512-/, name)
    assert.ok(permits(String(license), allowedInTools), `${name}: ${license}`)
  }
  assert.ok(installed.length > 50)
})

test("the package that users install has no npm dependencies", () => {
  assert.equal(JSON.parse(read("package.json")).dependencies, undefined)
})
