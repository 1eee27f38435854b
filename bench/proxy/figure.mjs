// What each part of bench/ is told, and what it gives back.

/**
 * @typedef {object} Options
 * @property {boolean} quick fewer and shorter rounds: to see whether it works, not for figures to be quoted
 * @property {string} engine the program that is the forwarding engine alone
 */

/**
 * @typedef {object} Figure
 * @property {string} what
 * @property {number} value
 * @property {string} unit
 * @property {number} [goal] the value must not exceed it; none when it is only told
 * @property {boolean} [atLeast] the value must reach the goal instead
 * @property {string} how how it was measured
 * @property {Record<string, number>} [beside] what was measured of each contender
 * @property {string} [in] the unit of those
 */

/** Whether the goal is met. @param {Figure} figure */
export function isMet({value, goal, atLeast = false}) {
  if (goal === undefined) return true
  return atLeast ? value >= goal : value <= goal
}
