"use strict"

const fs = require("node:fs")
const os = require("node:os")
const path = require("node:path")
const {waitUntil} = require("./wait-until.js")

/** A folder that whoever made it removes. */
function makeTemporaryFolder() {
  // Resolved, because the folder for temporary files is a symbolic link on macOS.
  return fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), "rollbridge-test-"))
}

/**
 * A folder that is removed when the test ends.
 *
 * @param {import("node:test").TestContext} t
 * @param {Record<string, string>} [files] contents, by path inside it
 */
function temporaryFolder(t, files = {}) {
  const folder = makeTemporaryFolder()
  // A daemon that still runs may write into it while it goes.
  t.after(() => waitUntil("the folder to be gone", () => {
    fs.rmSync(folder, {recursive: true, force: true})
    return true
  }))
  writeFiles(folder, files)
  return folder
}

/**
 * @param {string} folder
 * @param {Record<string, string>} files
 */
function writeFiles(folder, files) {
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(folder, name)
    fs.mkdirSync(path.dirname(file), {recursive: true})
    fs.writeFileSync(file, content)
  }
}

module.exports = {makeTemporaryFolder, temporaryFolder, writeFiles}
