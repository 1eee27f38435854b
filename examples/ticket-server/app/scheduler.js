// The scheduler: ticks once a second, continuing the count of the one before it.

import {BrokerConnection} from "./broker-connection.js"
import {onStopSignal} from "./stop-signal.js"

const intervalMs = 1000

/** @param {{release: import("./run.js").Release}} options */
export function runScheduler({release}) {
  const broker = new BrokerConnection({topics: ["schedule"]})
  let lastTick = 0
  broker.on("reset", () => {
    lastTick = 0
  })
  broker.on("message", ({message}) => {
    lastTick = message.tick
  })

  const timer = setInterval(async () => {
    if (!broker.ready) return
    try {
      await broker.publish("schedule", {tick: lastTick + 1, version: release.version, pid: process.pid})
    } catch (error) {
      console.error(`missed a tick: ${error}`)
    }
  }, intervalMs)

  onStopSignal(() => {
    clearInterval(timer)
    broker.close()
  })
}
