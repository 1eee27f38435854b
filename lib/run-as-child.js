"use strict"

// The launcher's second road: the binary as a child whose signals and exit become this process's own. Spawning
// synchronously would not do, because a SIGTERM would then end this process at once and leave the daemon behind.

const {spawn} = require("node:child_process")
const {constants} = require("node:os")
const {foreignProgram} = require("./foreign-program.js")

/**
 * What would end this process and leave the child alone. SIGUSR1 is Node's own.
 *
 * @type {NodeJS.Signals[]}
 */
const forwardedSignals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR2"]

/**
 * @param {object} launch
 * @param {string} launch.binary
 * @param {string[]} launch.args
 * @param {NodeJS.ProcessEnv} launch.env
 * @param {string} launch.notReplaced why this process could not become the binary, told if it cannot be spawned either
 */
function runAsChild({binary, args, env, notReplaced}) {
  const foreign = foreignProgram(binary)
  if (foreign !== undefined) {
    console.error(`error: cannot run ${binary}: ${foreign}; delete node_modules and run npm install again on this machine`)
    process.exitCode = 1
    return
  }
  // Listening comes first: a signal between the two would end this process and leave the child alone.
  const forward = (/** @type {NodeJS.Signals} */ signal) => void child.kill(signal)
  for (const signal of forwardedSignals) process.on(signal, forward)
  const child = spawn(binary, args, {stdio: "inherit", env})

  child.on("error", (error) => {
    console.error(`error: cannot run ${binary}: ${error.message} (nor become it: ${notReplaced})`)
    process.exitCode = 1
  })
  child.on("exit", (code, signal) => {
    for (const forwarded of forwardedSignals) process.off(forwarded, forward)
    if (signal === null) {
      process.exitCode = code ?? 1
      return
    }
    // Should this process survive the signal, it ends as a shell would report that death.
    process.exitCode = 128 + constants.signals[signal]
    process.kill(process.pid, signal)
  })
}

module.exports = {runAsChild}
