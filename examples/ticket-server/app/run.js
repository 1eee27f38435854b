// The ticket server is one program in four roles; the first argument says which one this process plays.

import {parseArgs} from "node:util"
import {runBroker} from "./broker.js"
import {runScheduler} from "./scheduler.js"
import {runWeb} from "./web.js"
import {runWorker} from "./worker.js"

const roles = {broker: runBroker, scheduler: runScheduler, web: runWeb, worker: runWorker}

/**
 * What one release has of its own.
 *
 * @typedef {object} Release
 * @property {string} version
 * @property {string} heading
 * @property {string} colour
 * @property {(body: Record<string, unknown>) => Record<string, unknown>} newTicket what to keep of a submitted ticket
 * @property {(tickets: import("./tickets.js").Ticket[]) => import("./tickets.js").Ticket[]} arrange
 * @property {(ticket: import("./tickets.js").Ticket) => string} describe
 */

/** @param {Release} release */
export async function run(release) {
  const {positionals, values} = parseArgs({
    allowPositionals: true,
    options: {host: {type: "string", default: "127.0.0.1"}, port: {type: "string", default: process.env.PORT}}
  })
  const role = /** @type {keyof typeof roles} */ (positionals[0])
  if (!(role in roles)) {
    console.error(`usage: node ticket-server.js ${Object.keys(roles).join("|")} [--host <address>] [--port <port>]`)
    process.exitCode = 2
    return
  }
  await roles[role]({release, host: values.host, port: Number(values.port)})
}
