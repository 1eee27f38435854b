// What a process of the application puts on record, a line at a time: one write each, so that lines never mix.

import {openSync, writeSync} from "node:fs"
import {join} from "node:path"

/** @param {string} name */
export function openLedger(name) {
  const file = openSync(join(String(process.env.LEDGER), name), "a")
  return (/** @type {(string | number)[]} */ ...words) => void writeSync(file, `${words.join(" ")}\n`)
}
