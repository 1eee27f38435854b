// Both ways of asking a process to finish: SIGTERM from Rollbridge, SIGINT from a terminal.

/**
 * Runs `stop` once, at the first of them. Nothing calls process.exit(): a process whose work is done ends by itself.
 *
 * @param {(signal: string) => void} stop
 */
export function onStopSignal(stop) {
  let asked = false
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.on(signal, () => {
      if (asked) return
      asked = true
      console.log(`${signal}: finishing`)
      stop(signal)
    })
  }
}
