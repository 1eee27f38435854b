"use strict"

// Runs what README.md and docs/*.md show. A fenced block takes part when its info string says so, after the language:
//
//   js file=rollbridge.mjs   the block is a file; one named rollbridge.* must be a config without issues and warnings
//   js process               one element of `processes`, checked inside a small config
//   js run                   a module that Node runs
//   sh run                   a script; `exit=1` when it is to fail; `needs=logrotate` when it and its output are left out
//                            where that program is not installed
//   sh background            a command that goes on until the page is over; a daemon is waited for, and with
//                            `ready=daemon.log` that file, in which a daemon says that it listens
//   text output              what the run before it prints, stdout and stderr; "…" stands for anything, on a line of
//                            its own for any lines
//
// Each page has a folder of its own, with its own ports and its own application name.

const assert = require("node:assert/strict")
const fs = require("node:fs")
const path = require("node:path")
const {describe, test} = require("node:test")
const {freePort} = require("./support/free-ports.js")
const {Trial, quietRange} = require("./support/page-trial.js")
const {blocksOf, markdownIn, pages, proseOf, read, root} = require("./support/pages.js")
const {isThere} = require("./support/required-tool.js")
const {temporaryFolder} = require("./support/temporary-folder.js")

describe("pages", {concurrency: true}, () => {
  for (const page of pages) {
    const markdown = read(page)
    const blocks = blocksOf(markdown)
    if (!blocks.some(({marks}) => marks.size > 0)) continue

    test(`what ${page} shows is true`, async (t) => {
      const hasTool = (/** @type {string} */ tool) => isThere(t, tool)
      const trial = new Trial({folder: temporaryFolder(t), port: await freePort(), range: await quietRange(), hasTool})
      try {
        for (const block of blocks) await located(`${page}:${block.line}`, trial.take(block))
      } finally {
        // Before the folder goes: a daemon in the background is found by the config in it.
        await trial.end()
      }
    })
  }
})

/**
 * @param {string} place what goes before the message if it fails
 * @param {Promise<unknown>} running
 */
async function located(place, running) {
  try {
    await running
  } catch (error) {
    const problem = /** @type {Error} */ (error)
    problem.message = `${place}: ${problem.message}`
    throw problem
  }
}

/**
 * The anchors that GitHub makes from the headings of a page.
 *
 * @param {string} markdown
 */
function anchorsOf(markdown) {
  const prose = markdown.replace(/^```[\s\S]*?^```/gm, "")
  const headings = [...prose.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading]) => heading)
  return new Set(headings.map((heading) => {
    return heading.toLowerCase().replace(/[^\p{Letter}\p{Number}\s_-]/gu, "").trim().replace(/\s/g, "-")
  }))
}

test("links between pages lead somewhere", () => {
  const broken = []
  for (const page of pages) {
    for (const [, target] of proseOf(read(page)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [file, anchor] = target.split("#")
      const absolute = file === "" ? path.join(root, page) : path.resolve(root, path.dirname(page), file)
      const exists = fs.existsSync(absolute)
      const isAnchor = anchor === undefined || (exists && anchorsOf(fs.readFileSync(absolute, "utf8")).has(anchor))
      if (!exists || !isAnchor) broken.push(`${page}: ${target}`)
    }
  }
  assert.deepEqual(broken, [])
})

test("pictures are as scripts/pictures.mjs draws them", async () => {
  const {pictures} = await import("../scripts/pictures.mjs")
  const folder = path.join(root, "docs", "pictures")
  assert.deepEqual(fs.readdirSync(folder).sort(), [...pictures.keys()].sort())
  for (const [name, svg] of pictures) assert.equal(fs.readFileSync(path.join(folder, name), "utf8"), svg, name)
})

test("every page is reached from the README", () => {
  const readme = read("README.md")
  for (const page of markdownIn("docs")) assert.ok(readme.includes(`](${page}`), `${page} is not linked`)
})
