"use strict"

// The request that each command sends to a daemon, made from a caller's options.

const path = require("node:path")
const {findBinary} = require("./native.js")

/** @typedef {{command: string} & Record<string, unknown>} Fields */

/** @type {(options: import("../index.js").DeployOptions) => Fields} */
function deployRequest({releasePath, releaseId, revision, wait, waitDrained}) {
  if (typeof releasePath !== "string" || releasePath === "") {
    throw new TypeError("deploy needs releasePath, the folder of the prepared release")
  }
  return {command: "deploy", releasePath: path.resolve(releasePath), releaseId, revision, wait, waitDrained}
}

/** @type {(options: import("../index.js").RollbackOptions) => Fields} */
const rollbackRequest = ({releaseId, wait}) => ({command: "rollback", releaseId, wait})

/** @type {(options: import("../index.js").RestartOptions) => Fields} */
const restartRequest = ({process: processId, policy}) => ({command: "restart", processId, policy})

/** @type {(options: import("../index.js").StopOptions) => Fields} */
const stopRequest = ({releaseId}) => ({command: "stop", releaseId})

/** @type {(options: import("../index.js").ConnectionsOptions) => Fields} */
const connectionsRequest = ({releaseId, close}) => ({command: "connections", releaseId, close})

/** @type {(options: import("../index.js").EventsOptions) => Fields} */
const eventsRequest = ({limit, since}) => ({command: "events", limit, since})

/** @type {(options: import("../index.js").LogsOptions) => Fields} */
const logsRequest = ({process: processId, releaseId, since}) => ({command: "logs", process: processId, releaseId, since})

/** @type {(options: import("../index.js").UpgradeOptions) => Fields} */
const upgradeRequest = ({binary}) => ({command: "upgrade", binary: path.resolve(binary ?? findBinary())})

module.exports = {
  connectionsRequest,
  deployRequest,
  eventsRequest,
  logsRequest,
  restartRequest,
  rollbackRequest,
  stopRequest,
  upgradeRequest
}
