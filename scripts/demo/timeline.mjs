// What the demo tells, with the seconds since it told the first thing.

/** @type {number | undefined} */
let startedAt

/** @param {string} sentence */
export function tell(sentence) {
  startedAt ??= performance.now()
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(2)
  console.log(`[${seconds.padStart(6)} s] ${sentence}`)
}

/**
 * Ends the demo when something is not as it must be.
 *
 * @param {unknown} holds
 * @param {string} otherwise
 * @returns {asserts holds}
 */
export function expect(holds, otherwise) {
  if (!holds) throw new Error(otherwise)
}
