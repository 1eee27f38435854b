// The companion: does one job after the other, and finishes the one in hand when it is asked to stop.

import {setTimeout as wait} from "node:timers/promises"
import {openLedger} from "./ledger.mjs"

const record = openLedger("jobs")
let stopping = false
process.on("SIGTERM", () => {
  stopping = true
})
for (let job = 1; !stopping; job += 1) {
  record("begun", process.pid, job)
  await wait(30)
  record("done", process.pid, job)
  await wait(20)
}
