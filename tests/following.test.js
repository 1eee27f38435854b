"use strict"

const assert = require("node:assert/strict")
const {test} = require("node:test")
const rollbridge = require("..")
const {FakeDaemon, fakeDaemon} = require("./support/fake-daemon.js")
const {runningApplication} = require("./support/small-application.js")
const {temporaryFolder} = require("./support/temporary-folder.js")
const {waitUntil} = require("./support/wait-until.js")

/** @param {number} seq */
const event = (seq) => ({status: "event", seq, at: "2026-05-21T07:30:00.000Z", message: "process started", data: {}})

/** @param {AsyncIterable<{seq: number}>} followed @param {number} count */
async function numbers(followed, count) {
  const found = []
  for await (const {seq} of followed) {
    found.push(seq)
    if (found.length === count) break
  }
  return found
}

test("events of a real daemon are listed, and followed until it has ended", async (t) => {
  const {configPath: config, release} = await runningApplication(t)
  await rollbridge.deploy({config, releasePath: release("one"), releaseId: "v1"})
  const listed = await rollbridge.events({config})
  assert.ok(listed.some(({message}) => message === "traffic switched"))
  assert.equal((await rollbridge.events({config, limit: 2})).length, 2)

  const followed = rollbridge.events({config, follow: true, since: listed[0].seq})
  /** @type {rollbridge.DaemonEvent[]} */
  const seen = []
  const following = (async () => {
    for await (const each of followed) seen.push(each)
  })()
  await waitUntil("what has been", () => seen.length >= listed.length - 1)
  await rollbridge.deploy({config, releasePath: release("two"), releaseId: "v2"})
  await rollbridge.shutdown({config})
  await following
  assert.ok(seen.some(({message, data}) => message === "traffic switched" && data.releaseId === "v2"))
  const expected = seen.map((_, index) => listed[0].seq + 1 + index)
  assert.deepEqual(seen.map(({seq}) => seq), expected)
  assert.equal(seen.at(-1)?.message, "shutdown finished")
})

test("the recent output of processes is listed", async (t) => {
  const {configPath: config, release} = await runningApplication(t)
  await assert.rejects(rollbridge.deploy({config, releasePath: release("broken"), releaseId: "v1"}))
  const [web] = await rollbridge.logs({config, process: "web"})
  assert.deepEqual([web.id, web.source, web.logs.at(-1)?.line], ["web", "v1", "cannot go on"])
  await assert.rejects(rollbridge.logs({config, process: "absent"}), {code: "process_not_found"})
})

test("a connection that breaks is taken up again without gap or repeat", async (t) => {
  const {config, daemon} = await fakeDaemon(t, temporaryFolder(t), ({since = 0}, say, socket) => {
    for (let seq = since + 1; seq <= since + 3; seq += 1) say(event(seq))
    socket.end()
  })
  assert.deepEqual(await numbers(rollbridge.events({config, follow: true, limit: 3}), 9), [1, 2, 3, 4, 5, 6, 7, 8, 9])
  const followed = {command: "events", follow: true}
  assert.deepEqual(daemon.requests.slice(0, 3), [{...followed, limit: 3}, {...followed, since: 3}, {...followed, since: 6}])
})

test("the lines of several processes are taken up again, each where it was", async (t) => {
  const line = {status: "log", at: "2026-05-21T07:30:00.000Z", stream: "stdout", line: "x"}
  const {config, daemon} = await fakeDaemon(t, temporaryFolder(t), ({since = {}}, say, socket) => {
    const {a = 4, b = 0} = /** @type {any} */ (since)
    say({...line, id: "web", source: "v1", origin: "a", seq: a + 1})
    say({...line, id: "worker", source: "v1", origin: "b", seq: b + 1})
    socket.end()
  })
  const found = []
  for await (const {id, seq, ...rest} of rollbridge.logs({config, follow: true, since: 3})) {
    found.push(`${id} ${seq}`)
    assert.deepEqual(Object.keys(rest).sort(), ["at", "line", "source", "stream"])
    if (found.length === 4) break
  }
  assert.deepEqual(found, ["web 5", "worker 1", "web 6", "worker 2"])
  assert.deepEqual(daemon.requests.map(({since}) => since), [3, {a: 5, b: 1}])
})

test("a daemon that comes back on the same socket is followed on", async (t) => {
  const answer = /** @type {import("./support/fake-daemon.js").Answer} */ (({since = 0}, say) => say(event(since + 1)))
  const {config, daemon} = await fakeDaemon(t, temporaryFolder(t), answer)
  const followed = rollbridge.logs({config, follow: true})
  assert.equal((await followed.next()).value?.seq, 1)
  await daemon.end({crash: true})
  const next = followed.next()
  const second = new FakeDaemon(`${daemon.controlPath}.new`, answer)
  await second.listen()
  t.after(() => second.end())
  require("node:fs").renameSync(second.controlPath, daemon.controlPath)
  assert.equal((await next).value?.seq, 2)
  await followed.return()
})

test("following ends with a daemon that shuts down, and fails with one that crashes", async (t) => {
  const say1 = /** @type {import("./support/fake-daemon.js").Answer} */ ((_, say) => say(event(1)))
  for (const crash of [false, true]) {
    const {config, daemon} = await fakeDaemon(t, temporaryFolder(t), say1)
    const followed = rollbridge.events({config, follow: true})
    await followed.next()
    const next = followed.next()
    const checked = crash
      ? assert.rejects(next, {name: "RollbridgeError", code: "connection_lost", message: /gone without having shut down/})
      : next.then((result) => assert.deepEqual(result, {value: undefined, done: true}))
    await daemon.end({crash})
    await checked
    assert.deepEqual(await followed.next(), {value: undefined, done: true})
  }
})

test("without a daemon, or with a refusal, the first value is the error", async (t) => {
  const folder = temporaryFolder(t)
  const {config, daemon} = await fakeDaemon(t, folder, (_, say) => {
    say({status: "error", error: "no such process", code: "process_not_found"})
  })
  await assert.rejects(rollbridge.logs({config, follow: true}).next(), {code: "process_not_found"})
  await daemon.end()
  await assert.rejects(rollbridge.events({config, follow: true}).next(), {code: "no_daemon"})
})

test("a slow consumer holds one value, and is told what it missed", async (t) => {
  let sent = 0
  const {config} = await fakeDaemon(t, temporaryFolder(t), (_, say) => {
    for (sent = 1; sent <= 5; sent += 1) say(event(sent))
    say({status: "lagged", missed: 12})
    say(event(18))
  })
  /** @type {number[]} */
  const missed = []
  const followed = rollbridge.events({config, follow: true, onMissed: (count) => missed.push(count)})
  assert.deepEqual(await numbers(followed, 5), [1, 2, 3, 4, 5])
  assert.equal(missed.length, 0)

  const again = rollbridge.events({config, follow: true, onMissed: (count) => missed.push(count)})
  assert.deepEqual(await numbers(again, 6), [1, 2, 3, 4, 5, 18])
  assert.deepEqual(missed, [12])
})

test("leaving the loop and aborting both let go of the connection", async (t) => {
  const connections = {open: 0}
  const {config} = await fakeDaemon(t, temporaryFolder(t), (_, say, socket) => {
    connections.open += 1
    socket.on("close", () => (connections.open -= 1))
    say(event(1))
  })
  await numbers(rollbridge.events({config, follow: true}), 1)
  await waitUntil("the connection to be closed", () => connections.open === 0)

  const abort = new AbortController()
  const followed = rollbridge.events({config, follow: true, signal: abort.signal})
  await followed.next()
  const [next, after] = [followed.next(), followed.next()]
  abort.abort(new RangeError("enough"))
  await assert.rejects(next, RangeError)
  assert.equal((await after).done, true)
  assert.equal((await followed.next()).done, true)
  await waitUntil("the connection to be closed", () => connections.open === 0)
  await assert.rejects(rollbridge.events({config, follow: true, signal: abort.signal}).next(), RangeError)
})

test("a callback that throws ends the iteration with its error", async (t) => {
  const {config} = await fakeDaemon(t, temporaryFolder(t), (_, say) => say({status: "lagged", missed: 1}))
  const onMissed = () => {
    throw new RangeError("out of paper")
  }
  await assert.rejects(rollbridge.events({config, follow: true, onMissed}).next(), RangeError)
})
