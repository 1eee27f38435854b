"use strict"

const assert = require("node:assert/strict")
const {test} = require("node:test")
const {requireTool} = require("./support/required-tool.js")
const {temporaryFolder} = require("./support/temporary-folder.js")

const lock = {
  packages: {
    "": {name: "example"},
    "node_modules/ws": {version: "8.0.0"},
    "node_modules/only-elsewhere": {version: "1.0.0", optional: true}
  }
}

/** @param {Record<string, {version: string}>} packages */
const installed = (packages) => ({
  "package-lock.json": JSON.stringify(lock),
  "node_modules/.package-lock.json": JSON.stringify({packages}),
  "node_modules/ws/package.json": "{}"
})

/** @type {[string, Record<string, string>, RegExp | undefined][]} */
const cases = [
  ["matching packages", installed({"node_modules/ws": {version: "8.0.0"}}), undefined],
  ["no node_modules", {"package-lock.json": JSON.stringify(lock)}, /nothing is installed/],
  ["another version", installed({"node_modules/ws": {version: "7.0.0"}}), /ws is not at 8\.0\.0/],
  ["a package too few", installed({}), /ws is not at 8\.0\.0/],
  [
    "a package too many",
    installed({"node_modules/ws": {version: "8.0.0"}, "node_modules/old": {version: "1.0.0"}}),
    /old is installed but/
  ]
]

for (const [what, files, expected] of cases) {
  test(`setup compares node_modules with the lock file: ${what}`, async (t) => {
    const {differenceFromLock} = await import("../scripts/setup.mjs")
    const difference = differenceFromLock(temporaryFolder(t, files))
    if (expected === undefined) assert.equal(difference, undefined)
    else assert.match(String(difference), expected)
  })
}

test("a missing tool is a skip that names the package, or a failure where everything is required", (t) => {
  /** @type {string[]} */
  const skips = []
  const context = /** @type {any} */ ({skip: (/** @type {string} */ reason) => skips.push(reason)})
  const before = process.env.ROLLBRIDGE_REQUIRE_ALL
  t.after(() => {
    if (before === undefined) delete process.env.ROLLBRIDGE_REQUIRE_ALL
    else process.env.ROLLBRIDGE_REQUIRE_ALL = before
  })

  delete process.env.ROLLBRIDGE_REQUIRE_ALL
  assert.equal(requireTool(context, "no-such-tool"), false)
  assert.match(skips[0], /install the Debian package no-such-tool/)

  process.env.ROLLBRIDGE_REQUIRE_ALL = "1"
  assert.throws(() => requireTool(context, "no-such-tool"), /install the Debian package no-such-tool/)
})
