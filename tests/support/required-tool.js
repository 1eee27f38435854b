"use strict"

// Tests that need a program which is not part of every machine. Without it they are skipped, and the skip says how to
// get it; with ROLLBRIDGE_REQUIRE_ALL=1, as in continuous integration, they fail instead.

const fs = require("node:fs")
const path = require("node:path")

/** Debian packages, where the name differs from the program's. */
const packages = /** @type {Record<string, string>} */ ({ps: "procps", "systemd-analyze": "systemd"})

/**
 * Whether the test can go on.
 *
 * @param {import("node:test").TestContext} t
 * @param {string} tool
 * @returns {boolean}
 */
function requireTool(t, tool) {
  if (isOnPath(tool)) return true
  const reason = `${tool} is not installed: install the Debian package ${packages[tool] ?? tool}`
  if (process.env.ROLLBRIDGE_REQUIRE_ALL === "1") throw new Error(reason)
  t.skip(reason)
  return false
}

/** @param {string} tool */
function isOnPath(tool) {
  // nginx lives in /usr/sbin, which an ordinary user's PATH does not have.
  const folders = [...(process.env.PATH ?? "").split(path.delimiter), "/usr/sbin", "/sbin"]
  return folders.some((folder) => fs.existsSync(path.join(folder, tool)))
}

module.exports = {requireTool}
