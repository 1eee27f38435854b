// Publishes the tarballs of `scripts/pack.mjs`: the platform packages first, because the root package depends on them.
// What is there already is passed over, so that a run which broke off can be repeated.
//
// Usage: node scripts/publish.mjs <folder> [--tag v<version>] [--dry-run]

import {spawnSync} from "node:child_process"
import {existsSync} from "node:fs"
import {createRequire} from "node:module"
import {join, resolve} from "node:path"
import {parseArgs} from "node:util"
import {nameOf} from "./packages.mjs"
import {runCommand} from "./run-command.mjs"

const require = createRequire(import.meta.url)
const {targets} = require("../lib/native.js")
const {version} = require("../package.json")

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {"tag": {type: "string"}, "dry-run": {type: "boolean", default: false}}
})
const folder = resolve(positionals[0] ?? "packages")

if (values.tag !== undefined && values.tag !== `v${version}`) {
  throw new Error(`the tag ${values.tag} is not that of package.json, which has version ${version}`)
}
const names = [...targets.map(nameOf), "rollbridge"]
const tarball = (/** @type {string} */ name) => join(folder, `${name}-${version}.tgz`)
const missing = names.filter((name) => !existsSync(tarball(name)))
if (missing.length > 0) throw new Error(`nothing is published, because ${missing.join(", ")} is not in ${folder}`)

for (const name of names) {
  if (isPublished(name)) {
    console.log(`${name}@${version} is published already`)
    continue
  }
  const how = values["dry-run"] ? ["--dry-run"] : ["--provenance"]
  await runCommand("npm", ["publish", tarball(name), "--access", "public", ...how])
}

/** @param {string} name */
function isPublished(name) {
  const {status, stdout} = spawnSync("npm", ["view", `${name}@${version}`, "version"], {encoding: "utf8"})
  return status === 0 && stdout.trim() === version
}
