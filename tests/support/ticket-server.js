"use strict"

// The example application, running under a daemon of its own on free ports.

const path = require("node:path")
const rollbridge = require("../..")
const {freePortRange, freePorts} = require("./free-ports.js")
const {RunningDaemon} = require("./running-daemon.js")
const {temporaryFolder} = require("./temporary-folder.js")

const example = path.join(__dirname, "..", "..", "examples", "ticket-server")
const config = path.join(example, "rollbridge.js")

/**
 * Starts the daemon; nothing is deployed yet. It ends with the test.
 *
 * @param {import("node:test").TestContext} t
 */
async function runningTicketServer(t) {
  const folder = temporaryFolder(t)
  const [proxyPort, brokerPort] = await freePorts(2)
  const {from, to} = await freePortRange(10)
  Object.assign(process.env, {
    TICKET_SERVER_CONTROL_PATH: path.join(folder, "control.sock"),
    TICKET_SERVER_PROXY_PORT: String(proxyPort),
    TICKET_SERVER_BROKER_PORT: String(brokerPort),
    TICKET_SERVER_WEB_PORTS: `${from}-${to}`
  })
  const daemon = new RunningDaemon({configPath: config, logPath: path.join(folder, "daemon.log")})
  t.after(() => daemon.end())
  await daemon.ready()

  /**
   * @param {string} version the release folder
   * @param {string} [releaseId]
   */
  const deploy = (version, releaseId = version) =>
    rollbridge.deploy({config, releasePath: path.join(example, "releases", version), releaseId})
  return {config, daemon, deploy, folder, proxyPort}
}

module.exports = {config, runningTicketServer}
