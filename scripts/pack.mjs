// Makes the tarballs that are published, and says how large they are.
//
// Usage: node scripts/pack.mjs [--out <folder>] [--natives <folder>]
//
// Without --natives it builds the native parts for this machine, as they are shipped, and packs them with the root
// package. With it, every platform is packed from <folder>/<target>/, where the release workflow has put what it built.

import {mkdirSync} from "node:fs"
import {createRequire} from "node:module"
import {join, resolve} from "node:path"
import {parseArgs} from "node:util"
import {build} from "./build.mjs"
import {addonName, assemblePlatformPackage, assembleRootPackage, pack} from "./packages.mjs"
import {root, runScript} from "./run-command.mjs"

const {cargoOutput, currentTarget, targets} = createRequire(import.meta.url)("../lib/native.js")

await runScript(async () => {
  const {values} = parseArgs({options: {out: {type: "string", default: join(root, "target", "npm")}, natives: {type: "string"}}})
  const out = resolve(values.out)
  mkdirSync(out, {recursive: true})
  if (values.natives === undefined) await build({dist: true})
  /** @type {{target: string, binary: string, addon: string}[]} */
  const platforms = values.natives === undefined ? [builtHere()] : targets.map(fromWorkflow(resolve(values.natives)))
  const folders = [...platforms.map((native) => assemblePlatformPackage(out, native)), assembleRootPackage(out)]
  const kib = (/** @type {number} */ bytes) => `${Math.ceil(bytes / 1024)} KiB`.padStart(10)
  for (const {file, name, size, unpackedSize} of pack(folders, out)) {
    console.log(`${name.padEnd(28)} ${kib(size)} packed ${kib(unpackedSize)} unpacked  ${file}`)
  }
})

function builtHere() {
  const target = currentTarget()
  return {target, binary: cargoOutput("dist", "rollbridge"), addon: join(root, addonName(target))}
}

/**
 * @param {string} natives
 * @returns {(target: string) => {target: string, binary: string, addon: string}}
 */
function fromWorkflow(natives) {
  return (target) => ({target, binary: join(natives, target, "rollbridge"), addon: join(natives, target, addonName(target))})
}
