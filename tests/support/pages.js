"use strict"

// The pages of the project, and the fenced blocks on them.

const assert = require("node:assert/strict")
const fs = require("node:fs")
const path = require("node:path")

const root = path.join(__dirname, "..", "..")

/** Every page for readers, as paths from the root. */
const pages = [
  "README.md", "CONTRIBUTING.md", "CHANGELOG.md", ...markdownIn("docs"),
  ...fs.readdirSync(path.join(root, "examples")).map((name) => `examples/${name}/README.md`).filter(exists)
]

/** @param {string} page */
function exists(page) {
  return fs.existsSync(path.join(root, page))
}

/** @param {string} folder */
function markdownIn(folder) {
  return fs.readdirSync(path.join(root, folder)).filter((name) => name.endsWith(".md")).map((name) => `${folder}/${name}`)
}

/** What a page says. @param {string} page */
const read = (page) => fs.readFileSync(path.join(root, page), "utf8")

/**
 * @typedef {object} Block
 * @property {number} line where it begins on its page, from 1
 * @property {string} language
 * @property {Map<string, string>} marks the words of its info string; those without `=` have an empty value
 * @property {string} text
 */

/**
 * The fenced blocks of a page.
 *
 * @param {string} markdown
 * @returns {Block[]}
 */
function blocksOf(markdown) {
  const blocks = []
  /** @type {Block | undefined} */
  let open
  for (const [index, line] of markdown.split("\n").entries()) {
    const fence = /^```(.*)$/.exec(line)
    if (!fence) {
      if (open) open.text += `${line}\n`
    } else if (open) {
      blocks.push(open)
      open = undefined
    } else {
      const [language, ...words] = fence[1].trim().split(/\s+/)
      open = {line: index + 1, language, marks: new Map(words.map(markOf)), text: ""}
    }
  }
  assert.equal(open, undefined, "a block is not closed")
  return blocks
}

/**
 * @param {string} word `run`, or `file=rollbridge.mjs`
 * @returns {[string, string]}
 */
function markOf(word) {
  const end = word.indexOf("=")
  return end === -1 ? [word, ""] : [word.slice(0, end), word.slice(end + 1)]
}

/**
 * The text of the block that a page shows as this file.
 *
 * @param {string} page
 * @param {string} file
 */
function shownFile(page, file) {
  const block = blocksOf(read(page)).find(({marks}) => marks.get("file") === file)
  assert.ok(block, `${page} shows no file ${file}`)
  return block.text
}

/**
 * Its words without its blocks, and without code inside lines.
 *
 * @param {string} markdown
 */
const proseOf = (markdown) => markdown.replace(/^```[\s\S]*?^```/gm, "").replace(/`[^`\n]*`/g, "")

module.exports = {blocksOf, markdownIn, pages, proseOf, read, root, shownFile}
