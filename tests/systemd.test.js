"use strict"

// The unit in examples/, as systemd reads it, and whether it says what each of its lines is for.

const assert = require("node:assert/strict")
const {execFileSync, spawnSync} = require("node:child_process")
const fs = require("node:fs")
const path = require("node:path")
const {test} = require("node:test")
const {findBinary} = require("../lib/native.js")
const {requireTool} = require("./support/required-tool.js")
const {temporaryFolder} = require("./support/temporary-folder.js")

const root = path.join(__dirname, "..")
const unit = fs.readFileSync(path.join(root, "examples", "rollbridge.service"), "utf8")

test("systemd finds nothing wrong with the unit, alone and with a socket unit", (t) => {
  if (!requireTool(t, "systemd-analyze")) return
  const page = fs.readFileSync(path.join(root, "docs", "systemd.md"), "utf8")
  const socket = /```text\n(# \/etc\/systemd\/system\/hello\.socket\n[^`]*)```/.exec(page)?.[1]
  assert.ok(socket, "the page shows a socket unit")
  const folder = temporaryFolder(t, {
    // The program must be there for systemd to be content.
    "hello.service": unit.replaceAll("/usr/local/bin/rollbridge", findBinary()),
    "hello.socket": socket
  })
  for (const name of ["hello.service", "hello.socket"]) {
    const {status, stderr} = spawnSync("systemd-analyze", ["verify", path.join(folder, name)], {encoding: "utf8"})
    assert.equal(stderr, "", name)
    assert.equal(status, 0, name)
  }
})

test("every line of the unit has a comment, and its options exist", () => {
  const lines = unit.split("\n")
  let explained = false
  const silent = []
  for (const line of lines) {
    if (line.startsWith("#")) explained = true
    else if (/^\[|^$/.test(line)) explained = false
    else if (!explained) silent.push(line)
  }
  assert.deepEqual(silent, ["Description=Rollbridge daemon of hello", "Documentation=https://github.com/kaspernj/rollbridge"])
  const help = execFileSync(findBinary(), ["daemon", "--help"], {encoding: "utf8"})
  const command = lines.find((line) => line.startsWith("ExecStart="))
  const options = command?.match(/--[\w-]+/g) ?? []
  assert.ok(options.length >= 2)
  for (const option of options) assert.ok(help.includes(option), option)
})
