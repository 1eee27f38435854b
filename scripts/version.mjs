// Where the version stands, and how it is raised. Files are changed as text, so that nothing else in them moves.

import {readdirSync} from "node:fs"
import {join} from "node:path"

/**
 * @param {string} version
 * @param {string | undefined} part `patch`, `minor` or `major`
 */
export function nextVersion(version, part) {
  const numbers = version.split(".").map(Number)
  const at = ["major", "minor", "patch"].indexOf(part ?? "")
  if (at === -1) throw new Error(`say which part of ${version} goes up: patch, minor or major`)
  if (numbers.length !== 3 || numbers.some(Number.isNaN)) throw new Error(`${version} is no plain version`)
  return numbers.map((number, index) => (index < at ? number : index === at ? number + 1 : 0)).join(".")
}

/**
 * The files that name the version.
 *
 * @param {string} root
 */
export function versionFiles(root) {
  const platforms = readdirSync(join(root, "npm")).map((target) => `npm/${target}/package.json`)
  return ["package.json", "package-lock.json", "Cargo.toml", "Cargo.lock", "CHANGELOG.md", ...platforms]
}

/**
 * The text of such a file with the next version in it.
 *
 * @param {string} file
 * @param {string} text
 * @param {{before: string, after: string, today: string}} versions
 */
export function withVersion(file, text, {before, after, today}) {
  if (file === "CHANGELOG.md") return changelog(text, `## ${after} (${today})`)
  const [pattern, expected] = places(file)
  let count = 0
  const changed = text.replace(pattern, (_whole, start, version) => {
    if (version !== before) throw new Error(`${file} has version ${version}, but package.json has ${before}`)
    count += 1
    return `${start}${after}"`
  })
  if (count !== expected) throw new Error(`${file} names the version ${count} times instead of ${expected}`)
  return changed
}

/**
 * How the version is found, and how often.
 *
 * @param {string} file
 * @returns {[RegExp, number]}
 */
function places(file) {
  switch (file) {
    case "Cargo.toml": return [/^(\[package\]\n(?:[^[].*\n)*?version = ")([^"]+)"/m, 1]
    case "Cargo.lock": return [/^(name = "rollbridge"\nversion = ")([^"]+)"/m, 1]
    // At the top, and once more as the first of the installed packages.
    case "package-lock.json": return [/("name": "rollbridge",\n +"version": ")([^"]+)"/g, 2]
    default: return [/^( {2}"version": ")([^"]+)"/m, 1]
  }
}

/**
 * @param {string} text
 * @param {string} heading
 */
function changelog(text, heading) {
  const unreleased = /^## Unreleased\n([\s\S]*?)(?=^## |(?![\s\S]))/m.exec(text)
  if (!unreleased || unreleased[1].trim() === "") {
    throw new Error("CHANGELOG.md says nothing under Unreleased: write what this release changes for users")
  }
  return text.replace("## Unreleased\n", () => `## Unreleased\n\n${heading}\n`)
}
