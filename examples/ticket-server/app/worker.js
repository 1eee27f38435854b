// The worker: handles one ticket after the other. When it is asked to stop it finishes the one in hand.

import {setTimeout as wait} from "node:timers/promises"
import {BrokerConnection} from "./broker-connection.js"
import {onStopSignal} from "./stop-signal.js"
import {Tickets} from "./tickets.js"

const handlingMs = 50

/** @param {{release: import("./run.js").Release}} options */
export function runWorker({release}) {
  const broker = new BrokerConnection({topics: ["tickets"]})
  const tickets = new Tickets(broker)
  let busy = false
  let stopping = false

  const work = async () => {
    if (busy) return
    busy = true
    for (let ticket; broker.ready && !stopping && (ticket = tickets.nextUnhandled()); ) await handle(ticket)
    busy = false
    if (stopping) broker.close()
  }

  /** @param {import("./tickets.js").Ticket} ticket */
  const handle = async (ticket) => {
    await wait(handlingMs)
    const handledBy = `worker of version ${release.version}`
    try {
      await broker.publish("tickets", {type: "handled", id: ticket.id, handledBy})
      console.log(`handled ticket ${ticket.id}`)
    } catch (error) {
      console.error(`ticket ${ticket.id} is still open: ${error}`)
    }
  }

  broker.on("ready", work)
  broker.on("message", work)
  onStopSignal(() => {
    stopping = true
    work()
  })
}
