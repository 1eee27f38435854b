// Runs one command in the checkout with the caller's terminal, so that its output is seen as it comes.

import {spawn} from "node:child_process"
import {fileURLToPath} from "node:url"

/** The folder of the checkout. */
export const root = fileURLToPath(new URL("..", import.meta.url))

/** A command that is not installed. */
export class MissingCommand extends Error {
  /** @param {string} command */
  constructor(command) {
    const advice = command === "cargo" ? "install Rust from https://rustup.rs" : "install it"
    super(`${command} was not found: ${advice}, and see that its folder is in PATH`)
  }
}

/**
 * Runs what a script is for. What goes wrong with a command is told in one line: a stack would only show this file.
 *
 * @param {() => Promise<unknown>} work
 */
export async function runScript(work) {
  try {
    await work()
  } catch (error) {
    if (!(error instanceof MissingCommand)) throw error
    console.error(`error: ${error.message}`)
    process.exit(1)
  }
}

/**
 * Resolves when the command has ended well; otherwise the error says how it ended.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{env?: NodeJS.ProcessEnv}} [options]
 * @returns {Promise<void>}
 */
export function runCommand(command, args, {env = process.env} = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {cwd: root, env, stdio: "inherit"})
    const endChild = () => void child.kill("SIGTERM")
    process.once("SIGTERM", endChild)
    child.on("error", (/** @type {NodeJS.ErrnoException} */ error) => {
      reject(error.code === "ENOENT" ? new MissingCommand(command) : error)
    })
    child.on("exit", (status, signal) => {
      process.off("SIGTERM", endChild)
      if (status === 0) resolve()
      else reject(new Error(`${[command, ...args].join(" ")} ended with ${signal ?? `exit status ${status}`}`))
    })
  })
}
