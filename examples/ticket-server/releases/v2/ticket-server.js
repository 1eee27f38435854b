// Version 2: tickets also have a priority, and the urgent ones come first. Tickets of version 1 have none.

import {run} from "../../app/run.js"

const priorities = ["urgent", "normal", "low"]

/** @param {import("../../app/tickets.js").Ticket} ticket */
const rank = ({priority}) => priorities.indexOf(priority ?? "normal")

await run({
  version: "2",
  heading: "Ticket desk with priorities",
  colour: "darkgreen",
  newTicket: ({title, priority}) => ({title, priority: priorities.includes(String(priority)) ? priority : "normal"}),
  arrange: (tickets) => tickets.toSorted((one, other) => rank(one) - rank(other)),
  describe: ({title, priority}) => `${title} (${priority ?? "normal"})`
})
