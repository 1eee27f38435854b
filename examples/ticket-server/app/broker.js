// The broker: passes messages between the other processes, one JSON object a line over TCP, and remembers them.
//
//   client → {subscribe: topic}                    broker → {topic, number, message, replayed}, first all that is
//                                                           remembered, then {topic, caughtUp: true}, then what comes
//   client → {publish: topic, message, reference}  broker → {published: reference, number}
//
// It keeps the tickets in memory, so a new broker starts with an empty desk.

import {createServer} from "node:net"
import {onJsonLine, sendJsonLine} from "./json-lines.js"
import {onStopSignal} from "./stop-signal.js"

const rememberedPerTopic = 10_000

/**
 * @typedef {object} Topic
 * @property {{number: number, message: unknown}[]} history
 * @property {number} lastNumber
 * @property {Set<import("node:net").Socket>} subscribers
 */

/** @param {{host: string, port: number}} options */
export function runBroker({host, port}) {
  /** @type {Map<string, Topic>} */
  const topics = new Map()
  /** @type {Set<import("node:net").Socket>} */
  const clients = new Set()

  const server = createServer((client) => {
    clients.add(client)
    onJsonLine(client, (request) => answer(client, request, topics))
    client.on("error", (error) => console.error(`client: ${error.message}`))
    client.on("close", () => {
      clients.delete(client)
      for (const {subscribers} of topics.values()) subscribers.delete(client)
    })
  })
  server.listen(port, host, () => console.log(`broker listening on port ${port}`))

  onStopSignal(() => {
    server.close()
    for (const client of clients) client.destroy()
  })
}

/**
 * @param {import("node:net").Socket} client
 * @param {{subscribe?: string, publish?: string, message?: unknown, reference?: number}} request
 * @param {Map<string, Topic>} topics
 */
function answer(client, {subscribe, publish, message, reference}, topics) {
  if (subscribe !== undefined) {
    const {history, subscribers} = topicNamed(topics, subscribe)
    for (const remembered of history) sendJsonLine(client, {topic: subscribe, ...remembered, replayed: true})
    sendJsonLine(client, {topic: subscribe, caughtUp: true})
    subscribers.add(client)
  }
  if (publish !== undefined) {
    const topic = topicNamed(topics, publish)
    topic.lastNumber += 1
    const entry = {number: topic.lastNumber, message}
    topic.history.push(entry)
    if (topic.history.length > rememberedPerTopic) topic.history.shift()
    for (const subscriber of topic.subscribers) sendJsonLine(subscriber, {topic: publish, ...entry, replayed: false})
    sendJsonLine(client, {published: reference, number: entry.number})
  }
}

/**
 * @param {Map<string, Topic>} topics
 * @param {string} name
 * @returns {Topic}
 */
function topicNamed(topics, name) {
  const topic = topics.get(name) ?? {history: [], lastNumber: 0, subscribers: new Set()}
  topics.set(name, topic)
  return topic
}
