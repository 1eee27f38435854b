"use strict"

// Tests that need a program which is not part of every machine. Without it they are skipped, and the skip says how to
// get it; with ROLLBRIDGE_REQUIRE_ALL=1, as in continuous integration, they fail instead.

const fs = require("node:fs")
const path = require("node:path")

/** Debian packages, where the name differs from the program's. */
const packages = /** @type {Record<string, string>} */ ({
  "ansible-playbook": "ansible-core", "cap": "capistrano", "ip": "iproute2", "ps": "procps", "ssh": "openssh-client",
  "ssh-keygen": "openssh-client", "sshd": "openssh-server", "systemd-analyze": "systemd"
})

/**
 * Whether the test can go on.
 *
 * @param {import("node:test").TestContext} t
 * @param {string} tool
 * @returns {boolean}
 */
function requireTool(t, tool) {
  const reason = whyNot(tool)
  if (reason !== undefined) t.skip(reason)
  return reason === undefined
}

/**
 * Whether one part of a test can be done; the rest goes on in any case.
 *
 * @param {import("node:test").TestContext} t
 * @param {string} tool
 * @returns {boolean}
 */
function isThere(t, tool) {
  const reason = whyNot(tool)
  if (reason !== undefined) t.diagnostic(reason)
  return reason === undefined
}

/**
 * @param {string} tool
 * @returns {string | undefined} nothing if it is there
 */
function whyNot(tool) {
  if (isOnPath(tool)) return undefined
  const reason = `${tool} is not installed: install the Debian package ${packages[tool] ?? tool}`
  if (process.env.ROLLBRIDGE_REQUIRE_ALL === "1") throw new Error(reason)
  return reason
}

/** @param {string} tool */
function isOnPath(tool) {
  // nginx lives in /usr/sbin, which an ordinary user's PATH does not have.
  const folders = [...(process.env.PATH ?? "").split(path.delimiter), "/usr/sbin", "/sbin"]
  return folders.some((folder) => fs.existsSync(path.join(folder, tool)))
}

module.exports = {isThere, requireTool}
