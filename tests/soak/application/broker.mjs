// The service: stays while releases come and go. It records each start of its own.

import {createServer} from "node:net"
import {openLedger} from "./ledger.mjs"

openLedger("brokers")(process.pid)
const server = createServer((client) => client.on("error", () => {}).pipe(client))
server.listen(Number(process.env.ROLLBRIDGE_PORT), "127.0.0.1")
process.on("SIGTERM", () => server.close())
