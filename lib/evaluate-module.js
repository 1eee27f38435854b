"use strict"

// Evaluates a config file in a worker thread of its own. A new thread has an empty module cache, so each load re-reads
// the file and everything it imports; and a config that hangs or calls process.exit() takes only that thread with it.

const path = require("node:path")
const {Worker} = require("node:worker_threads")
const {unreadableConfig} = require("./error.js")

const timeoutMs = 30_000

/** An option of Node that says how modules are found and loaded; its value may be the next word. */
const loaderOption = /^(--import|--require|-r|--loader|--experimental-loader|--conditions|-C)(=|$)/

/** An option of Node that only makes sense for a program given as text. */
const textOption = /^(--input-type|--eval|--print|-[ep]+)(=|$)/

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
    ...optionsForFile(),
    stdout: true
  })
  // What a config prints is for people; stdout may be carrying the caller's results.
  worker.stdout.on("data", (chunk) => process.stderr.write(chunk))
  try {
    const {error, ...content} = JSON.parse(await firstMessage(worker, file))
    if (error !== undefined) throw unreadableConfig(file, error)
    return content
  } finally {
    await worker.terminate()
  }
}

/**
 * The caller's options of Node, so that its loaders work for the config too. A thread inherits them all by itself, but
 * those for a program given as text would end it; beside them only loaders are passed on, because a thread takes few
 * others when they are named.
 */
function optionsForFile() {
  const {execArgv, env: {NODE_OPTIONS: fromEnvironment = ""}} = process
  const isForText = [...execArgv, ...fromEnvironment.split(" ")].some((option) => textOption.test(option))
  if (!isForText) return {}
  const env = {...process.env, NODE_OPTIONS: fromEnvironment.replace(/(^| )--input-type[= ]\S+/g, "")}
  return {execArgv: execArgv.filter((option, index) => isLoader(option, execArgv[index - 1])), env}
}

/**
 * @param {string} option
 * @param {string} [before]
 */
function isLoader(option, before = "") {
  return loaderOption.test(option) || (loaderOption.test(before) && !before.includes("="))
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
