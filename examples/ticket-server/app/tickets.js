// The desk as one process knows it: what the messages of the topic "tickets" add up to.

/** @typedef {{id: number, title: string, priority?: string, handledBy: string | null}} Ticket */

export class Tickets {
  /** @type {Map<number, Ticket>} */
  #byId = new Map()

  /** @param {import("./broker-connection.js").BrokerConnection} broker */
  constructor(broker) {
    broker.on("reset", () => this.#byId.clear())
    broker.on("message", ({topic, number, message}) => {
      if (topic === "tickets") this.#learn(number, message)
    })
  }

  /** @returns {Ticket[]} */
  all() {
    return [...this.#byId.values()]
  }

  /** The oldest ticket that nobody has handled. */
  nextUnhandled() {
    return this.all().find(({handledBy}) => handledBy === null)
  }

  /**
   * @param {number} number
   * @param {any} message
   */
  #learn(number, {type, ticket, id, handledBy}) {
    if (type === "created") this.#byId.set(number, {id: number, ...ticket, handledBy: null})
    const handled = type === "handled" ? this.#byId.get(id) : undefined
    // While a release drains, its worker and the next one's may both take a ticket; the first counts.
    if (handled && handled.handledBy === null) handled.handledBy = handledBy
  }
}
