// The worker thread that evaluates one config file and answers with JSON text.

import {parentPort, workerData} from "node:worker_threads"
import {evaluate} from "../config-loader.mjs"

const {file, folder} = workerData

// A thread cannot change its directory, but what path.resolve() and most configs ask is process.cwd(): the answer is
// the one the daemon's own loader gives, so both roads build the same paths.
process.cwd = () => folder

const {value, problems} = await evaluate(file)
parentPort?.postMessage(JSON.stringify({value, problems}))
