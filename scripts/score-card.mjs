// Puts the rows of tests/proxy_rows to Rollbridge, nginx and HAProxy, and writes the table in docs/proxy.md.
// Usage: node scripts/score-card.mjs. nginx and haproxy must be installed.

import {spawnSync} from "node:child_process"
import {readFileSync, writeFileSync} from "node:fs"
import {delimiter, join} from "node:path"
import {root} from "./run-command.mjs"

const contenders = [
  {id: "rollbridge", version: () => `Rollbridge ${JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version}`},
  {id: "nginx", version: () => `nginx ${output("nginx", ["-v"], "nginx/")}`},
  {id: "haproxy", version: () => `HAProxy ${output("haproxy", ["-v"], "version ")}`}
]
const begin = "<!-- score card: written by scripts/score-card.mjs -->"
const end = "<!-- end of the score card -->"

const columns = contenders.map(({id}) => rowsOf(id))
const names = [...columns[0].keys()].sort()
const table = [
  `| row | ${contenders.map(({version}) => version()).join(" | ")} |`,
  `| --- |${" --- |".repeat(contenders.length)}`,
  ...names.map((name) => `| ${title(name)} | ${columns.map((column) => column.get(name) ?? "?").join(" | ")} |`)
]
const page = join(root, "docs", "proxy.md")
const text = readFileSync(page, "utf8")
const before = text.slice(0, text.indexOf(begin) + begin.length)
writeFileSync(page, `${before}\n\n${table.join("\n")}\n\n${text.slice(text.indexOf(end))}`)
console.log(table.join("\n"))

/**
 * What became of each row: yes, no, how many of its cases, or a dash when it is about something only Rollbridge has.
 *
 * @param {string} contender
 * @returns {Map<string, string>}
 */
function rowsOf(contender) {
  const {stdout} = spawnSync("cargo", ["test", "--test", "proxy_rows", "--", "--test-threads=4"], {
    cwd: root,
    encoding: "utf8",
    env: {...process.env, ROLLBRIDGE_ROWS_AGAINST: contender, RUST_BACKTRACE: "0"},
    maxBuffer: 2 ** 26,
    stdio: ["ignore", "pipe", "inherit"]
  })
  const reports = new Map(stdout.split(/^---- /m).slice(1).map((report) => [report.split(" ")[0], report]))
  const results = [...stdout.matchAll(/^test (\S+) \.\.\. (ok|FAILED)$/gm)]
  return new Map(results.map(([, name, result]) => [name, result === "ok" ? "yes" : failure(reports.get(name) ?? "")]))
}

/** @param {string} report */
function failure(report) {
  if (report.includes("not applicable")) return "–"
  const cases = /(\d+) of (\d+) cases:/.exec(report)
  if (!cases) return "no"
  const met = Number(cases[2]) - Number(cases[1])
  return met === 0 ? "no" : `${met} of ${cases[2]}`
}

/** @param {string} name */
function title(name) {
  const words = name.split("::")[1].replaceAll("_", " ").replace("http 1 0", "HTTP/1.0")
  const spelt = words.replace(/^connect /, "CONNECT ").replace("options of", "OPTIONS of").replace(/\bfin\b/g, "FIN")
  return spelt.replace(/\b(get|post)\b/g, (word) => word.toUpperCase()).replace("host and", "Host and")
}

/**
 * The word after `mark` in what a command prints about its version.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {string} mark
 */
function output(command, args, mark) {
  const env = {...process.env, PATH: `${process.env.PATH}${delimiter}/usr/sbin`}
  const {stdout, stderr, error} = spawnSync(command, args, {encoding: "utf8", env})
  if (error) throw error
  return `${stdout}${stderr}`.split(mark)[1].split(/[\s-]/)[0]
}
