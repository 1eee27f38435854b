// Runs one command in the checkout with the caller's terminal, so that its output is seen as it comes.

import {spawn} from "node:child_process"
import {fileURLToPath} from "node:url"

/** The folder of the checkout. */
export const root = fileURLToPath(new URL("..", import.meta.url))

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
    child.on("error", reject)
    child.on("exit", (status, signal) => {
      process.off("SIGTERM", endChild)
      if (status === 0) resolve()
      else reject(new Error(`${[command, ...args].join(" ")} ended with ${signal ?? `exit status ${status}`}`))
    })
  })
}
