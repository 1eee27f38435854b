// What clients notice when the web process is killed again and again under load.

import {mkdtempSync, rmSync} from "node:fs"
import {createRequire} from "node:module"
import {tmpdir} from "node:os"
import {join} from "node:path"

const {crashUnderLoad} = createRequire(import.meta.url)("../tests/support/crash-load.js")
const kills = 50

export async function measure() {
  const folder = mkdtempSync(join(tmpdir(), "rollbridge-bench-"))
  try {
    const account = await crashUnderLoad(folder, kills)
    const {gets, posts, cutAnswers, refusedPosts, longestMs} = account
    console.log(`  ${gets} GETs and ${posts} POSTs during ${kills} kills; ${cutAnswers} answers were cut after they had begun,`)
    console.log(`  ${refusedPosts} POSTs got 502; the longest GET took ${Math.round(longestMs)} ms`)
    const how = `SIGKILL of the active web process, ${kills} times, 16 clients that never rest, a ledger in the application`
    const figure = (/** @type {string} */ what, /** @type {number} */ value) => ({what, value, unit: "", goal: 0, how})
    return [
      figure("GETs that failed when the web process was killed", account.failedGets.length),
      figure("POSTs executed twice when the web process was killed", account.doubledPosts.length),
      figure("POSTs answered but not executed when the web process was killed", account.lostPosts.length)
    ]
  } finally {
    rmSync(folder, {recursive: true, force: true})
  }
}
