"use strict"

// Evaluates a config file in a worker thread of its own. A new thread has an empty module cache, so each load re-reads
// the file and everything it imports; and a config that hangs or calls process.exit() takes only that thread with it.

const path = require("node:path")
const {Worker} = require("node:worker_threads")
const {unreadableConfig} = require("./error.js")

const timeoutMs = 30_000

/** Exit status of a thread that awaits what can never settle. */
const unsettled = 13

/**
 * @param {string} file
 * @param {string} folder the folder the module sees as its working directory
 * @returns {Promise<{value: unknown, problems: unknown[]}>}
 */
async function evaluateModule(file, folder) {
  const worker = new Worker(path.join(__dirname, "config-worker.mjs"), {
    workerData: {file, folder},
    // Not the caller's: some options of Node make no sense for a file.
    execArgv: [],
    stdout: true
  })
  // What a config prints is for people; stdout may be carrying the caller's results.
  worker.stdout.on("data", (chunk) => process.stderr.write(chunk))
  try {
    return JSON.parse(await firstMessage(worker, file))
  } finally {
    await worker.terminate()
  }
}

/**
 * @param {Worker} worker
 * @param {string} file
 * @returns {Promise<string>}
 */
function firstMessage(worker, file) {
  return new Promise((resolve, reject) => {
    const fail = (/** @type {unknown} */ cause) => reject(unreadableConfig(file, cause))
    const overdue = `it has not finished after ${timeoutMs / 1000} s; look for something it waits for`
    const timer = setTimeout(fail, timeoutMs, overdue)

    worker.once("message", resolve)
    worker.once("error", fail)
    worker.once("exit", (status) => {
      clearTimeout(timer)
      fail(
        status === unsettled
          ? "it never finished: a promise it waits for can no longer settle"
          : `it ended Node with exit status ${status} before the config was there`
      )
    })
  })
}

module.exports = {evaluateModule}
