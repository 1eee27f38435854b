// Makes a release: the next version everywhere, committed, tagged and pushed. The tag starts the release workflow, which
// builds for all platforms and publishes.
//
// Usage: node scripts/release.mjs patch|minor|major [--dry-run]

import {execFileSync} from "node:child_process"
import {readFileSync, writeFileSync} from "node:fs"
import {join} from "node:path"
import {parseArgs} from "node:util"
import {root} from "./run-command.mjs"
import {nextVersion, versionFiles, withVersion} from "./version.mjs"

/** @param {string[]} args */
const git = (...args) => execFileSync("git", args, {cwd: root, encoding: "utf8"}).trim()

/**
 * What keeps a release from being made; each with what to do about it.
 *
 * @param {string} branch
 */
function obstacles(branch) {
  const found = []
  if (git("branch", "--show-current") !== branch) found.push(`the branch is not ${branch}: git switch ${branch}`)
  if (git("status", "--porcelain") !== "") found.push("there are changes: commit or stash them")
  const isLevel = git("rev-parse", "HEAD") === git("rev-parse", `origin/${branch}`)
  if (!isLevel) found.push(`${branch} is not where origin/${branch} is: git pull --ff-only, and push what is yours`)
  return found
}

/** The branch that releases are made from, as the remote says. */
function defaultBranch() {
  const line = git("ls-remote", "--symref", "origin", "HEAD").split("\n")[0]
  return /^ref: refs\/heads\/(\S+)\s+HEAD$/.exec(line)?.[1] ?? "main"
}

function main() {
  const {values, positionals} = parseArgs({allowPositionals: true, options: {"dry-run": {type: "boolean", default: false}}})
  const isDry = values["dry-run"]
  const before = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version
  const after = nextVersion(before, positionals[0])
  const branch = defaultBranch()
  git("fetch", "--quiet", "--tags", "origin", branch)
  const found = obstacles(branch)
  if (git("tag", "--list", `v${after}`) !== "") found.push(`the tag v${after} exists: see what happened to that release`)

  const today = new Date().toISOString().slice(0, 10)
  const files = versionFiles(root)
  const changed = files.map((file) => {
    const path = join(root, file)
    return {file, path, text: withVersion(file, readFileSync(path, "utf8"), {before, after, today})}
  })
  if (found.length > 0) throw new Error(`no release can be made:\n${found.map((each) => `  - ${each}`).join("\n")}`)

  const steps = [
    ["commit", "--quiet", "--message", `Release ${after}`, "--", ...files],
    ["tag", "--annotate", "--message", `Version ${after}`, `v${after}`],
    ["push", "--quiet", "--atomic", "origin", branch, `v${after}`]
  ]
  for (const {file, path, text} of changed) {
    console.log(`${isDry ? "would write" : "writing"} ${file}: ${before} becomes ${after}`)
    if (!isDry) writeFileSync(path, text)
  }
  for (const step of steps) {
    console.log(`${isDry ? "would run" : "running"} git ${step.join(" ")}`)
    if (!isDry) git(...step)
  }
  console.log(isDry ? "dry run: nothing was changed" : `v${after} is pushed; the release workflow builds and publishes it`)
}

try {
  main()
} catch (error) {
  console.error(`error: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
