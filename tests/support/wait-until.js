"use strict"

const {setTimeout: wait} = require("node:timers/promises")

const pauseMs = 20

/**
 * Asks again and again until the answer is something, and resolves to it. What `ask` throws counts as "not yet".
 *
 * @template Answer
 * @param {string} what is waited for, as words that follow "waiting for"
 * @param {() => Answer | Promise<Answer>} ask
 * @param {number} [timeoutMs]
 * @returns {Promise<NonNullable<Answer>>}
 */
async function waitUntil(what, ask, timeoutMs = 60_000) {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    let problem
    try {
      const answer = await ask()
      if (answer) return answer
    } catch (error) {
      problem = error
    }
    if (performance.now() > deadline) {
      throw new Error(`gave up waiting for ${what} after ${timeoutMs} ms`, {cause: problem})
    }
    await wait(pauseMs)
  }
}

module.exports = {waitUntil}
