"use strict"

// The smallest application a daemon can run: one web process without any dependency, in a temporary folder.

const path = require("node:path")
const {freePort, freePortRange} = require("./free-ports.js")
const {RunningDaemon} = require("./running-daemon.js")
const {temporaryFolder} = require("./temporary-folder.js")

const server = `
const {createServer} = require("node:http")
const {readFileSync} = require("node:fs")
const version = readFileSync("version", "utf8")
createServer((request, response) => response.end(version)).listen(process.env.PORT, "127.0.0.1")
`

/**
 * Writes a config and releases: "one" and "two" answer with their names, "broken" exits with status 7 at once.
 *
 * @param {import("node:test").TestContext} t
 */
async function smallApplication(t) {
  const proxyPort = await freePort()
  const config = {
    application: "small",
    control: {path: "control.sock"},
    proxy: {port: proxyPort, healthPath: "/", healthTimeoutMs: 15_000},
    processes: [
      {
        id: "web",
        policy: "proxied",
        command: `exec '${process.execPath}' server.js`,
        env: {PORT: "{{port}}"},
        port: await freePortRange(10)
      }
    ]
  }
  const folder = temporaryFolder(t, {
    "rollbridge.json": JSON.stringify(config),
    "one/server.js": server,
    "one/version": "one",
    "two/server.js": server,
    "two/version": "two",
    "broken/server.js": 'console.log("cannot go on"); process.exit(7)'
  })
  return {
    folder,
    proxyPort,
    configPath: path.join(folder, "rollbridge.json"),
    controlPath: path.join(folder, "control.sock"),
    /** @param {string} name */
    release: (name) => path.join(folder, name)
  }
}

/**
 * The same, with a daemon that runs it until the test ends.
 *
 * @param {import("node:test").TestContext} t
 */
async function runningApplication(t) {
  const application = await smallApplication(t)
  const daemon = new RunningDaemon({
    configPath: application.configPath,
    logPath: path.join(application.folder, "daemon.log")
  })
  t.after(() => daemon.end())
  await daemon.ready()
  return {...application, daemon}
}

module.exports = {runningApplication, smallApplication}
