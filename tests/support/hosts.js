"use strict"

// Hosts for tests: network namespaces with addresses of their own, each with its own /srv. Nothing of the machine's own
// network is touched. It needs root on Linux.

const {execFileSync, spawn, spawnSync} = require("node:child_process")
const {once} = require("node:events")
const fs = require("node:fs")
const os = require("node:os")
const path = require("node:path")

/** Whether this machine lets us make namespaces. */
function canMakeHosts() {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false
  return spawnSync("unshare", ["--net", "--mount", "true"]).status === 0
}

class Network {
  #prefix
  #count = 0

  /**
   * The switch, and on it the host that stands before the others: 10.77.0.1.
   *
   * @param {import("node:test").TestContext} t
   */
  constructor(t) {
    // A name of an interface may have 15 characters.
    this.#prefix = `rb${process.pid.toString(36)}`
    this.#add("front")
    t.after(() => this.#remove())
    this.#inside("front", "ip", "link", "add", "switch", "type", "bridge")
    this.#inside("front", "ip", "address", "add", "10.77.0.1/24", "dev", "switch")
    this.#inside("front", "ip", "link", "set", "switch", "up")
  }

  /** @type {string[]} */
  #names = []

  /**
   * A host with the next address: 10.77.0.2, 10.77.0.3, …
   *
   * @param {string} name
   */
  host(name) {
    this.#count += 1
    const cable = `${this.#prefix}${this.#count}`
    this.#add(name)
    const otherEnd = ["peer", "name", "eth0", "netns", this.#space(name)]
    execFileSync("ip", ["-n", this.#space("front"), "link", "add", cable, "type", "veth", ...otherEnd])
    this.#inside("front", "ip", "link", "set", cable, "master", "switch", "up")
    this.#inside(name, "ip", "address", "add", `10.77.0.${this.#count + 1}/24`, "dev", "eth0")
    this.#inside(name, "ip", "link", "set", "eth0", "up")
  }

  /**
   * A program on a host, which ends with the test.
   *
   * @param {import("node:test").TestContext} t
   * @param {string} name
   * @param {string} script
   * @param {{env: NodeJS.ProcessEnv, log: string}} options
   */
  start(t, name, script, {env, log}) {
    const output = fs.openSync(log, "a")
    const child = spawn("ip", ["netns", "exec", this.#space(name), "/bin/sh", "-ec", script], {
      env, detached: true, stdio: ["ignore", output, output]
    })
    fs.closeSync(output)
    const ended = once(child, "exit")
    t.after(async () => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGTERM")
      await ended
    })
  }

  /**
   * Runs a program on a host to its end.
   *
   * @param {string} name
   * @param {string[]} command
   * @param {{env: NodeJS.ProcessEnv, cwd: string}} options
   * @returns {Promise<{status: number | null, output: string}>}
   */
  async run(name, command, {env, cwd}) {
    const child = spawn("ip", ["netns", "exec", this.#space(name), ...command], {env, cwd, stdio: ["ignore", "pipe", "pipe"]})
    let output = ""
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data))
    const [status] = await once(child, "close")
    return {status, output}
  }

  /** @param {string} name */
  #add(name) {
    execFileSync("ip", ["netns", "add", this.#space(name)])
    this.#names.push(name)
    this.#inside(name, "ip", "link", "set", "lo", "up")
  }

  #remove() {
    for (const name of this.#names) spawnSync("ip", ["netns", "delete", this.#space(name)])
  }

  /** @param {string} name */
  #space(name) {
    return `${this.#prefix}-${name}`
  }

  /**
   * @param {string} name
   * @param {string[]} command
   */
  #inside(name, ...command) {
    execFileSync("ip", ["netns", "exec", this.#space(name), ...command])
  }
}

/**
 * Shell commands that give a host its name and its own /srv, out of a folder of the test.
 *
 * @param {string} name
 * @param {string} folder
 */
function ownWorld(name, folder) {
  const inner = (/** @type {string} */ script) => {
    const file = path.join(folder, `${name}.sh`)
    fs.writeFileSync(file, `set -e\nhostname ${name}\nmount --bind ${path.join(folder, name)} /srv\n${script}`)
    return `exec unshare --mount --uts /bin/sh ${file}`
  }
  return inner
}

module.exports = {Network, canMakeHosts, ownWorld, user: os.userInfo().username}
