// The table of docs/performance.md, made from what was measured.

import {isMet} from "./figure.mjs"

const contenders = ["rollbridge", "nginx", "haproxy", "direct"]
const begin = "<!-- figures: written by npm run bench -->"
const end = "<!-- end of figures -->"

/**
 * The page with the table of these figures instead of the one it has.
 *
 * @param {string} page
 * @param {import("./figure.mjs").Figure[]} figures
 */
export function withTable(page, figures) {
  const [before, rest] = page.split(begin)
  const after = rest?.split(end)[1]
  if (after === undefined) throw new Error(`docs/performance.md has lost its markers: ${begin} … ${end}`)
  const head = "| what | goal | measured | Rollbridge | nginx | HAProxy | direct |\n| --- | --- | --- | --- | --- | --- | --- |\n"
  return `${before}${begin}\n\n${head}${figures.map(row).join("")}\n${end}${after}`
}

/** @param {import("./figure.mjs").Figure} figure */
function row(figure) {
  const goal = figure.goal === undefined ? "–" : `${figure.atLeast ? "≥" : "≤"} ${shown(figure.goal)}`
  const value = `${shown(figure.value)}${unit(figure.unit)}`
  const each = contenders.map((name) => {
    const measured = figure.beside?.[name]
    return measured ? `${shown(measured)}${unit(figure.in ?? "")}` : ""
  })
  return `| ${[figure.what, goal, isMet(figure) ? value : `**${value}**`, ...each].join(" | ")} |\n`
}

/** @param {string} name */
function unit(name) {
  return name === "×" || name === "1" || name === "" ? "" : ` ${name}`
}

/** @param {number} value */
function shown(value) {
  const digits = Math.abs(value) >= 100 ? 0 : 2
  return String(Number(value.toFixed(digits))).replace(/\B(?=(\d{3})+$)/g, value >= 1000 ? " " : "")
}
