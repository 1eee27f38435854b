// User-space instructions of each request, counted by valgrind. They depend neither on the machine's speed nor on what
// else it does.

import {mkdtempSync, readFileSync, readdirSync, rmSync} from "node:fs"
import {createRequire} from "node:module"
import {tmpdir} from "node:os"
import {join} from "node:path"
import {answers} from "./contenders.mjs"
import {peak} from "./load.mjs"
import {run, start} from "./process.mjs"

const {waitUntil} = createRequire(import.meta.url)("../../tests/support/wait-until.js")

/**
 * @param {{port: number, command: string, args: string[]}} proxy not running yet
 * @param {{connections: number, seconds: number}} load
 * @returns {Promise<number>} instructions for each request
 */
export async function instructionsPerRequest({port, command, args}, load) {
  const folder = mkdtempSync(join(tmpdir(), "rollbridge-bench-"))
  const counting = ["--tool=callgrind", `--callgrind-out-file=${folder}/counts`, command, ...args]
  const {pid, end} = start("valgrind", counting)
  try {
    await waitUntil(`${command} under valgrind`, () => answers(port), 60_000)
    await peak(port, {...load, seconds: 1})
    await run("callgrind_control", ["--zero", String(pid)])
    const {requests} = await peak(port, load)
    await run("callgrind_control", ["--dump", String(pid)])
    // Beside the dump there may be an empty file for the end of the run.
    const counts = await waitUntil("the counts", () => {
      const texts = readdirSync(folder).map((name) => readFileSync(join(folder, name), "utf8"))
      return texts.map((text) => /^(?:totals|summary): *(\d+)/m.exec(text)).find((found) => Number(found?.[1]) > 0)
    })
    return Number(counts[1]) / requests
  } finally {
    await end()
    rmSync(folder, {recursive: true, force: true})
  }
}
