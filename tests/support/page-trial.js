"use strict"

// One page being tried: its blocks are written, run and compared in a folder of its own. tests/docs.test.js says how a
// block takes part.

const assert = require("node:assert/strict")
const {spawn} = require("node:child_process")
const fs = require("node:fs")
const path = require("node:path")
const {freePortRange} = require("./free-ports.js")
const {root} = require("./pages.js")
const {writeFiles} = require("./temporary-folder.js")
const {waitUntil} = require("./wait-until.js")
const rollbridge = require("../../index.js")

/** @typedef {import("./pages.js").Block} Block */

/** What pages say, and what stands in its place while they are tried. */
const shownPort = 8182
const shownRange = {from: 18182, to: 18299}
const shownFolder = "/srv/ticket-server"
const applicationName = /(?:application"?: |APP_NAME \?\? )"[\w-]+(?=")/g
const configName = /^rollbridge\.(json|[cm]?[jt]s)$/

/** One page being tried: its folder, its ports, and what runs in the background. */
class Trial {
  /** @type {{child: import("node:child_process").ChildProcess, ended: Promise<number | string | null>, output: string[]}[]} */
  #background = []
  /** What the last run printed. */
  #output = ""
  /** Whether a daemon may run that is no child of ours. */
  #mayHaveDetached = false
  /** Whether the last run was left out, because a program is not there. */
  #skipped = false

  /**
   * @param {object} place
   * @param {string} place.folder
   * @param {number} place.port
   * @param {{from: number, to: number}} place.range
   * @param {(tool: string) => boolean} place.hasTool
   */
  constructor({folder, port, range, hasTool}) {
    this.folder = folder
    this.hasTool = hasTool
    this.port = port
    this.range = range
    this.tag = path.basename(folder).slice(-6).toLowerCase()
    const bin = path.join(folder, "node_modules", ".bin")
    fs.mkdirSync(bin, {recursive: true})
    // What `npm install` makes of a checkout: links to the package and to its command.
    fs.symlinkSync(root, path.join(folder, "node_modules", "rollbridge"))
    fs.symlinkSync("../rollbridge/bin/rollbridge.js", path.join(bin, "rollbridge"))
    // The part of npx that matters here, without the time it takes.
    fs.writeFileSync(path.join(bin, "npx"), '#!/bin/sh\nprogram=$1\nshift\nexec "$program" "$@"\n', {mode: 0o755})
    /** @type {NodeJS.ProcessEnv} */
    this.env = {...process.env, PATH: [bin, path.dirname(process.execPath), process.env.PATH].join(path.delimiter), NO_COLOR: "1"}
    // Where a daemon in the background keeps its copy of the program.
    this.env.XDG_STATE_HOME = path.join(folder, "state")
  }

  /**
   * The block as it is tried: free ports and a name nobody else uses.
   *
   * @param {string} text
   */
  adapted(text) {
    const ports = text
      .replace(/\b18(1|2)\d\d\b/g, (shown) => this.#within(Number(shown)))
      .replace(new RegExp(`\\b${shownPort}\\b`, "g"), String(this.port))
      .replace(/\b17330\b/g, String(this.range.to + 1))
    return ports.replaceAll(shownFolder, this.folder).replace(applicationName, (shown) => `${shown}-${this.tag}`)
  }

  /** @param {number} shown */
  #within(shown) {
    if (shown < shownRange.from || shown > shownRange.to) return String(shown)
    return String(shown === shownRange.to ? this.range.to : this.range.from + shown - shownRange.from)
  }

  /**
   * What a command printed, as a page would show it.
   *
   * @param {string} output
   */
  shown(output) {
    return output
      .replaceAll(this.folder, shownFolder)
      .replaceAll(`-${this.tag}`, "")
      .replace(/\b\d{4,5}\b/g, (text) => {
        const port = Number(text)
        if (port === this.port) return String(shownPort)
        const isOurs = port >= this.range.from && port <= this.range.to
        return isOurs ? String(shownRange.from + port - this.range.from) : text
      })
  }

  /** @param {Block} block */
  async take(block) {
    const {language, marks, text} = block
    const file = marks.get("file")
    if (file !== undefined) return this.write(file, this.adapted(text))
    if (marks.has("process")) return this.checkProcess(this.adapted(text))
    if (marks.has("background")) return this.start(this.adapted(text), marks.get("ready"))
    if (marks.has("output")) return this.#skipped || this.compare(text)
    if (!marks.has("run")) return undefined
    if (text.includes("ensure-daemon")) this.#mayHaveDetached = true
    const tool = marks.get("needs")
    this.#skipped = tool !== undefined && !this.hasTool(tool)
    if (this.#skipped) return undefined
    const script = language === "sh" ? "shown.sh" : "shown.mjs"
    writeFiles(this.folder, {[script]: this.adapted(text)})
    const command = language === "sh" ? ["/bin/sh", "-e", script] : [process.execPath, script]
    const {status, stdout, stderr} = await this.run(command)
    this.#output = this.shown(stderr + stdout)
    assert.equal(status, Number(marks.get("exit") ?? 0), `exit status; it printed:\n${stdout}${stderr}`)
    return undefined
  }

  /**
   * @param {string} file
   * @param {string} text
   */
  async write(file, text) {
    writeFiles(this.folder, {[file]: text})
    if (!configName.test(path.basename(file))) return
    const {issues, warnings} = await rollbridge.validateConfig({config: path.join(this.folder, file)})
    assert.deepEqual([issues, warnings], [[], []])
  }

  /** @param {string} text one process, in JavaScript notation */
  async checkProcess(text) {
    const web = '{id: "web", policy: "proxied", command: "true", port: {from: 18182, to: 18299}}'
    const others = text.includes('policy: "proxied"') ? "" : `${web}, `
    writeFiles(this.folder, {"process.mjs": `export default {application: "shown", processes: [${others}${text}]}`})
    const {issues, warnings} = await rollbridge.validateConfig({config: path.join(this.folder, "process.mjs")})
    assert.deepEqual([issues, warnings], [[], []])
  }

  /**
   * @param {string[]} command
   * @returns {Promise<{status: number | null, stdout: string, stderr: string}>}
   */
  run([program, ...args]) {
    return new Promise((resolve, reject) => {
      const child = spawn(program, args, {cwd: this.folder, env: this.env, timeout: 300_000})
      const said = {stdout: "", stderr: ""}
      child.stdout.on("data", (chunk) => (said.stdout += chunk))
      child.stderr.on("data", (chunk) => (said.stderr += chunk))
      child.on("error", reject)
      child.on("close", (status) => resolve({status, ...said}))
    })
  }

  /**
   * Starts a command and, as a reader would, waits until the daemon has said that it listens.
   *
   * @param {string} text
   * @param {string} [readyFile] where it says so, if that is a file; any command is ready once its file is there
   */
  async start(text, readyFile) {
    const child = spawn("/bin/sh", ["-ec", text], {cwd: this.folder, env: this.env, detached: true})
    /** @type {string[]} */
    const output = []
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => output.push(String(chunk)))
    /** @type {Promise<number | string | null>} */
    const ended = new Promise((resolve) => child.once("close", (status, signal) => resolve(signal ?? status)))
    this.#background.push({child, ended, output})
    const isDaemon = / daemon\b/.test(text)
    await waitUntil(isDaemon ? "the daemon" : text, () => {
      if (!isDaemon) return readyFile === undefined || fs.existsSync(path.join(this.folder, readyFile))
      const said = readyFile === undefined ? output.join("") : fs.readFileSync(path.join(this.folder, readyFile), "utf8")
      return said.includes("control socket listening")
    })
  }

  /** @param {string} expected */
  compare(expected) {
    const pattern = expected.trimEnd().split("\n").map((line) => {
      return line === "…" ? "(?:.*\\n)*?" : `${line.split("…").map(literally).join(".*")}\\n`
    })
    const actual = `${this.#output.trimEnd()}\n`
    if (new RegExp(`^${pattern.join("")}$`).test(actual)) return
    // Not a match, so this shows the difference.
    assert.equal(actual, expected)
  }

  /** Ends what still runs. A page that shut its daemon down has seen it exit with 0. */
  async end() {
    if (this.#mayHaveDetached) await this.run(["rollbridge", "shutdown"])
    for (const {child, ended, output} of this.#background) {
      const how = await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 2000, undefined))])
      if (how === undefined) {
        try {
          if (child.pid !== undefined) process.kill(-child.pid, "SIGTERM")
        } catch {
          // It ended by itself in the meantime.
        }
        await ended
      } else {
        assert.equal(how, 0, `the background command failed:\n${output.join("")}`)
      }
    }
  }
}

/** @param {string} text */
function literally(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
}

/**
 * A range like the one pages show, which say which port each release gets. The port behind it is free, too: for the one that
 * pages give to a service.
 *
 * @returns {Promise<{from: number, to: number}>}
 */
async function quietRange() {
  const {from, to} = await freePortRange(shownRange.to - shownRange.from + 2)
  return {from, to: to - 1}
}

module.exports = {Trial, quietRange}
