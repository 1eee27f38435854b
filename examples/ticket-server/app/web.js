// The web process: pages, JSON, server-sent events and WebSockets.

import {createServer} from "node:http"
import {setTimeout as wait} from "node:timers/promises"
import express from "express"
import {BrokerConnection} from "./broker-connection.js"
import {attachLive} from "./live.js"
import {page} from "./page.js"
import {onStopSignal} from "./stop-signal.js"
import {Tickets} from "./tickets.js"

/** @param {{release: import("./run.js").Release, host: string, port: number}} options */
export function runWeb({release, host, port}) {
  const broker = new BrokerConnection({topics: ["tickets", "schedule"]})
  const tickets = new Tickets(broker)
  const self = {version: release.version, releaseId: process.env.ROLLBRIDGE_RELEASE_ID ?? null, pid: process.pid}
  /** @type {Set<import("express").Response>} */
  const listeners = new Set()
  /** @type {{tick: number, version: string} | null} */
  let lastTick = null

  broker.on("message", ({topic, message, replayed}) => {
    if (topic === "schedule") lastTick = message
    if (replayed) return
    for (const listener of listeners) listener.write(`event: ${topic}\ndata: ${JSON.stringify(message)}\n\n`)
  })

  const app = express()
  app.use(express.json(), express.urlencoded({extended: false}))

  // Healthy means able to serve: without the broker this process knows no tickets.
  app.get("/ping", (_request, response) => {
    if (broker.ready) response.send("pong")
    else response.status(503).send("waiting for the broker")
  })

  app.get("/", (_request, response) => {
    response.send(page({release, self, lastTick, tickets: release.arrange(tickets.all())}))
  })

  app.get("/version", (_request, response) => response.json(self))

  app.get("/tickets", (_request, response) => response.json(release.arrange(tickets.all())))

  app.post("/tickets", async (request, response) => {
    const ticket = release.newTicket(request.body ?? {})
    if (!ticket.title) {
      response.status(400).json({error: "a ticket needs a title"})
      return
    }
    const id = await broker.publish("tickets", {type: "created", ticket})
    if (request.is("urlencoded")) response.redirect(303, "/")
    else response.status(201).json({id, ...ticket})
  })

  app.get("/slow", async (request, response) => {
    const ms = Math.min(Number(request.query.ms) || 0, 60_000)
    await wait(ms)
    response.json({...self, waitedMs: ms})
  })

  app.get("/events", (_request, response) => {
    response.writeHead(200, {"content-type": "text/event-stream", "cache-control": "no-store"})
    response.write(`event: hello\ndata: ${JSON.stringify(self)}\n\n`)
    listeners.add(response)
    response.on("close", () => listeners.delete(response))
  })

  const server = createServer(app)
  const closeLive = attachLive(server, self)
  server.listen(port, host, () => console.log(`version ${release.version} listening on ${host}:${port}`))

  onStopSignal(() => {
    // Requests in hand are still answered; what would stay open for ever is closed.
    server.close(() => broker.close())
    closeLive()
    for (const listener of listeners) listener.end()
  })
}
