"use strict"

// The messages that pages quote (```text message) are those the program prints: each must be in the source, with what
// the program fills in written as "…".

const assert = require("node:assert/strict")
const fs = require("node:fs")
const path = require("node:path")
const {test} = require("node:test")
const {blocksOf, pages, read, root} = require("./support/pages.js")

/** What stands for a value, or for a message inside another one. */
const gap = "…"

/** Every string of the Rust source, with its placeholders as gaps. @returns {string[]} */
function stringsOfSource() {
  const files = fs.readdirSync(path.join(root, "src"), {recursive: true, encoding: "utf8"}).filter((name) => name.endsWith(".rs"))
  return files.flatMap((name) => {
    const text = fs.readFileSync(path.join(root, "src", name), "utf8")
    const strings = [...text.matchAll(/"((?:[^"\\]|\\[\s\S])*)"/g)].map(([, string]) => string)
    // One that is not a template may have double braces of its own.
    return strings.flatMap((string) => [readable(string), string])
  })
}

/** @param {string} string between quotes, as in the source */
function readable(string) {
  return string
    .replace(/\\\n\s*/g, "")
    .replace(/\\(["\\])/g, "$1")
    .replaceAll("{{", "\u0001").replaceAll("}}", "\u0002")
    .replace(/\{[^{}]*\}/g, gap)
    .replaceAll("\u0001", "{").replaceAll("\u0002", "}")
}

/** What an operating system says, or an example of what a program or a server says. */
const fromElsewhere = ["No such file or directory", "connection refused", "404 Not Found"]

/**
 * The pieces of a source string or a message between its gaps.
 *
 * @param {string} text
 */
function piecesOf(text) {
  const pieces = text.split(gap).map((piece) => piece.replace(/^[\s:;,()"]+|[\s(")]+$/g, ""))
  return pieces.filter((piece) => /\w/.test(piece))
}

test("every quoted message is one of the program's", () => {
  const known = stringsOfSource().flatMap(piecesOf).filter((piece) => piece.length > 1)
  const strangers = []
  let count = 0
  for (const page of pages) {
    for (const {line, marks, text} of blocksOf(read(page))) {
      if (!marks.has("message")) continue
      count += 1
      let rest = text.trim().replace(/^rollbridge: /, "")
      for (const said of fromElsewhere) rest = rest.replaceAll(said, gap)
      for (const piece of piecesOf(rest)) {
        if (!isCovered(piece, known)) strangers.push(`${page}:${line}: ${piece}`)
      }
    }
  }
  assert.ok(count > 20)
  assert.deepEqual(strangers, [])
})

/**
 * Whether a piece can be put together from pieces of the source: it is inside one, or ends one and goes on with others.
 *
 * @param {string} piece
 * @param {string[]} known
 * @returns {boolean}
 */
function isCovered(piece, known) {
  if (known.some((one) => one.includes(piece))) return true
  for (let end = piece.length - 1; end > 3; end -= 1) {
    const beginning = piece.slice(0, end).trim()
    if (!known.some((one) => one === beginning || one.endsWith(beginning))) continue
    const rest = piece.slice(end).replace(/^[\s:;,("]+/, "")
    if (rest === "" || isCovered(rest, known)) return true
  }
  return false
}

test("a message that the program does not print is noticed", () => {
  assert.equal(isCovered("no daemon is to be found", ["no daemon answers on"]), false)
  assert.equal(isCovered("keeps serving: release path", ["keeps serving", "release path"]), true)
})

test("the answers that pages quote are the proxy's", () => {
  const refusals = fs.readFileSync(path.join(root, "src", "proxy", "refusal.rs"), "utf8")
  let count = 0
  for (const page of ["docs/troubleshooting.md", "docs/nginx.md", "docs/tensorbuzz-runbook.md"]) {
    for (const [, answer] of read(page).matchAll(/\| [^|]*\b[45]0?[0-9]+,? `([^`]+)`/g)) {
      count += 1
      assert.ok(refusals.includes(answer), `${page}: ${answer}`)
    }
  }
  assert.ok(count > 12, String(count))
})
