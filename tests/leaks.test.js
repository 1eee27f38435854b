"use strict"

// The short version of `npm run soak -- --leaks`: few restarts, deploys and connections, and what is held afterwards.

const assert = require("node:assert/strict")
const {test} = require("node:test")
const {findBinary} = require("../lib/native.js")

const isLinux = process.platform === "linux"

test("restarts, deploys and connections leave nothing open", {skip: !isLinux, timeout: 500_000}, async (t) => {
  const {leaks} = await import("./soak/leaks.mjs")
  const amounts = {restarts: 200, deploys: 5, connections: 2000}
  const findings = await leaks({binary: findBinary(), amounts, log: (text) => t.diagnostic(text)})
  assert.deepEqual(findings, [])
})
