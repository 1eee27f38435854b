
// The rest runs only in the child process of the Rollbridge binary, appended to config-loader.mjs.
/* global evaluate, explain */

import {writeSync as writeAnswer} from "node:fs"

/** Descriptor 0 is one end of a socket pair: it reads as empty, and the answer goes back through it. */
const ANSWER_DESCRIPTOR = 0

let answered = false

/** @param {object} content One JSON line; whatever comes after the first is dropped. */
function answer(content) {
  if (answered) return
  answered = true

  const bytes = Buffer.from(`${JSON.stringify(content)}\n`)
  let sent = 0
  while (sent < bytes.length) {
    try {
      sent += writeAnswer(ANSWER_DESCRIPTOR, bytes, sent)
    } catch (error) {
      if (error.code !== "EAGAIN") throw error
    }
  }
}

const path = process.argv[1]

// Left over from being started with --eval. An ES module must not see them: what it does with them would go unnoticed.
for (const name of ["__dirname", "__filename", "exports", "module", "require"]) delete globalThis[name]

process.removeAllListeners("warning")
process.on("warning", (warning) => {
  // Type stripping is meant to be used here, and a file of the wrong module system gets a better message of ours.
  const expected = warning.name === "ExperimentalWarning" || warning.code === "MODULE_TYPELESS_PACKAGE_JSON" ||
    /^(To load an ES module|Failed to load the ES module)/.test(warning.message)
  if (!expected) console.error(`${warning.name}: ${warning.message}`)
})
process.on("uncaughtException", (error) => answer({error: explain(error, path)}))
process.on("unhandledRejection", (error) => answer({error: explain(error, path)}))
process.on("beforeExit", () => answer({error: "it never finished: a promise it waits for can no longer settle"}))
process.on("exit", (status) => {
  answer({error: `it ended Node with exit status ${status} before the config was there`})
})

// Not awaited: about an await that never ends Node would complain on stderr, at length.
evaluate(path).then(answer, (error) => answer({error: error.message}))
