// The worker thread that evaluates one config file and answers with JSON text.

import {realpathSync, statSync} from "node:fs"
import {resolve} from "node:path"
import {parentPort, workerData} from "node:worker_threads"
import {evaluate, explain} from "../config-loader.mjs"

const {file} = workerData

// A thread has no directory of its own, but what path.resolve() and most configs ask is process.cwd(): the answers are
// the ones the daemon's own loader gives, so both roads build the same paths.
let folder = realpathSync.native(workerData.folder)
process.cwd = () => folder
process.chdir = (directory) => {
  const target = realpathSync(resolve(folder, directory))
  if (!statSync(target).isDirectory()) {
    throw Object.assign(new Error(`ENOTDIR: not a directory, chdir '${target}'`), {code: "ENOTDIR", syscall: "chdir"})
  }
  folder = target
}

const answer = (/** @type {object} */ content) => parentPort?.postMessage(JSON.stringify(content))
process.on("uncaughtException", (error) => answer({error: explain(error, file)}))

try {
  const {value, problems} = await evaluate(file)
  answer({value, problems})
} catch (error) {
  answer({error: error instanceof Error ? error.message : String(error)})
}
