"use strict"

// The short version of `npm run soak`: load and faults together, and an account from both sides.

const assert = require("node:assert/strict")
const {test} = require("node:test")
const {findBinary} = require("../lib/native.js")

const isLinux = process.platform === "linux"
const seconds = 25
const leastFaults = 5

test("load and faults together lose, double and disorder nothing", {skip: !isLinux, timeout: 500_000}, async (t) => {
  const {report} = await import("./soak/report.mjs")
  const {soak} = await import("./soak/run.mjs")
  const seed = Number(process.env.ROLLBRIDGE_SOAK_SEED ?? Date.now() % 1_000_000)
  t.diagnostic(`seed ${seed}; again: npm run soak -- --seconds ${seconds} --seed ${seed}`)
  const log = (/** @type {string} */ text) => t.diagnostic(text)
  const result = await soak({binary: findBinary(), seconds, leastFaults, seed, keepsFolder: false, log})
  assert.deepEqual(result.findings, [], report(result))
  assert.ok(result.load.total > 500 && result.tunnels.messages > 500, "there was a load")
  assert.ok(result.faults.count >= leastFaults, "there were faults")
})
