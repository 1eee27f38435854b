// Version 1: tickets have a title.

import {run} from "../../app/run.js"

await run({
  version: "1",
  heading: "Ticket desk",
  colour: "steelblue",
  newTicket: ({title}) => ({title}),
  arrange: (tickets) => tickets,
  describe: ({title}) => title
})
