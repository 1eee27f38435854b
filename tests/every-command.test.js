"use strict"

// Every command as an installed package has it, in a project that has Rollbridge in its node_modules: some of them by
// `npx rollbridge`, which takes a second each, the others by the link that npx runs. What each command does is tested
// through the binary, in tests/cli; here it is that all of them get through.

const assert = require("node:assert/strict")
const {spawn} = require("node:child_process")
const fs = require("node:fs")
const path = require("node:path")
const {test} = require("node:test")
const {runningApplication} = require("./support/small-application.js")

const root = path.join(__dirname, "..")

/** What npm makes of an installed package: a folder of its own, and a link to its command. @param {string} folder */
function install(folder) {
  const bin = path.join(folder, "node_modules", ".bin")
  fs.mkdirSync(bin, {recursive: true})
  fs.symlinkSync(root, path.join(folder, "node_modules", "rollbridge"))
  fs.symlinkSync("../rollbridge/bin/rollbridge.js", path.join(bin, "rollbridge"))
  fs.writeFileSync(path.join(folder, "package.json"), '{"private": true}')
}

/** Those that go through npx itself: each exit status, and each kind of output. */
const throughNpx = /^(--version|validate|deploy --release-path (one|broken)|status|dance|shutdown)\b/

/**
 * @param {string} folder
 * @param {string[]} args
 * @returns {Promise<{status: number | null, stdout: string, stderr: string}>}
 */
function run(folder, args) {
  return new Promise((resolve, reject) => {
    const isNpx = throughNpx.test(args.join(" "))
    const link = path.join(folder, "node_modules", ".bin", "rollbridge")
    const [program, ...first] = isNpx ? ["npx", "--no-install", "rollbridge"] : [link]
    const child = spawn(program, [...first, ...args], {cwd: folder, stdio: ["ignore", "pipe", "pipe"], timeout: 60_000})
    const said = {stdout: "", stderr: ""}
    child.stdout.on("data", (chunk) => (said.stdout += chunk))
    child.stderr.on("data", (chunk) => (said.stderr += chunk))
    child.on("error", reject)
    child.on("close", (status) => resolve({status, ...said}))
  })
}

/** Arguments, exit status, and what stands on stdout (stderr when it fails). @type {[string, number, RegExp][]} */
const table = [
  ["--version", 0, /^rollbridge \d/],
  ["--help", 0, /^Commands:$/m],
  ["validate", 0, /is valid: 1 process/],
  ["validate --json", 0, /"valid": true/],
  ["doctor", 1, /already listens on/],
  ["doctor --json --release-path one --release-id v1 --revision abc", 0, /"ok": true/],
  ["deploy --release-path one --release-id v1 --revision abc --wait --wait-drained", 0, /"activeReleaseId": "v1"/],
  ["deploy --release-path two --release-id v2 --progress", 0, /"previousReleaseId": "v1"/],
  ["deploy --release-path broken --release-id v3", 1, /next: see with rollbridge logs --release v3 --process web/],
  ["status", 0, /"activeReleaseId": "v2"/],
  ["ensure-daemon", 0, /"activeReleaseId": "v2"/],
  ["ps", 0, /^v2 +web +running/m],
  ["ps --json", 0, /"source": "v2"/],
  ["connections --release v2", 0, /^no connection is open$/m],
  ["connections --json", 0, /^\[\]$/m],
  ["connections --close 99", 1, /no open connection has the number 99/],
  ["events --limit 1", 0, / {2}command failed {2}/],
  ["events --json", 0, /"message": "traffic switched"/],
  ["logs --release v3 --process web", 0, /\| cannot go on$/m],
  ["logs --json", 0, /"source": "v2"/],
  ["rollback --release-id v1 --wait --progress", 0, /"activeReleaseId": "v1"/],
  ["restart --policy companion", 0, /"restarted": \[\]/],
  ["restart --process web", 1, /never restarted in place/],
  ["predeploy-cleanup --release-path one", 0, /^daemon-active: /],
  ["predeploy-cleanup --json", 0, /"action": "daemon-active"/],
  ["recover", 1, /the config has no statePath/],
  ["recover --force --json", 1, /the config has no statePath/],
  ["init --config starter.mjs", 0, /^wrote starter.mjs;/],
  ["completion bash", 0, /complete .*rollbridge/],
  ["stop --release-id v1", 0, /"activeReleaseId": null/],
  ["upgrade", 0, /"previousVersion": "\d/],
  ["upgrade --binary /bin/false", 1, /upgrade failed, the daemon goes on as it is/],
  ["dance", 2, /unrecognized subcommand 'dance'/],
  ["shutdown", 0, /"message": "shutdown"/],
  ["status", 3, /start one with rollbridge daemon/]
]

test("every command gets through npx, with its output and its exit status", {timeout: 400_000}, async (t) => {
  const {folder} = await runningApplication(t)
  install(folder)
  for (const [line, expected, words] of table) {
    const {status, stdout, stderr} = await run(folder, line.split(" "))
    assert.equal(status, expected, `${line}: ${stdout}${stderr}`)
    assert.match(expected === 0 || line === "doctor" ? stdout : stderr, words, line)
  }
})

test("what follows goes on until the daemon ends", {timeout: 120_000}, async (t) => {
  const {folder} = await runningApplication(t)
  install(folder)
  const following = [run(folder, ["events", "--follow"]), run(folder, ["logs", "--follow", "--json"])]
  await run(folder, ["deploy", "--release-path", "one", "--release-id", "v1"])
  await run(folder, ["shutdown"])
  const [events, logs] = await Promise.all(following)
  assert.deepEqual([events.status, logs.status], [0, 0], events.stderr + logs.stderr)
  assert.match(events.stdout, /shutdown finished/)
})
