"use strict"

// Clients do not notice that the web process crashes, and nothing is done twice. `npm run bench` kills it more often.

const assert = require("node:assert/strict")
const {test} = require("node:test")
const {crashUnderLoad} = require("./support/crash-load.js")
const {temporaryFolder} = require("./support/temporary-folder.js")

test("five crashes under load fail no GET and double no POST", async (t) => {
  const account = await crashUnderLoad(temporaryFolder(t, {}), 5)
  t.diagnostic(JSON.stringify(account))
  assert.deepEqual(account.failedGets, [])
  assert.deepEqual(account.strangePosts, [])
  assert.deepEqual(account.doubledPosts, [])
  assert.deepEqual(account.lostPosts, [])
  assert.ok(account.gets > 100 && account.posts > 50, "there was a load")
})
