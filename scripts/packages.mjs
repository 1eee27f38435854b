// Assembles what is published: a folder for the root package and one for each platform, ready for `npm pack` or `npm
// publish`. The checkout itself is never published: its package.json does not name the platform packages, because they
// would have to be published before `npm ci` works.

import {chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync} from "node:fs"
import {execFileSync} from "node:child_process"
import {createRequire} from "node:module"
import {join} from "node:path"
import {root} from "./run-command.mjs"

const {targets} = createRequire(import.meta.url)("../lib/native.js")

/** What npm puts into every package by itself, if it is there. */
const always = ["LICENSE", "README.md"]

/**
 * @param {string} folder
 * @returns {any}
 */
const manifestIn = (folder) => JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))

/**
 * @param {string} folder
 * @param {object} manifest
 */
const writeManifest = (folder, manifest) =>
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`)

/** @param {string} folder */
function emptied(folder) {
  rmSync(folder, {recursive: true, force: true})
  mkdirSync(folder, {recursive: true})
}

/**
 * The package users install: JavaScript and types, and the platform packages as its only dependencies.
 *
 * @param {string} into the folder it is assembled in, `into/rollbridge`
 */
export function assembleRootPackage(into) {
  const folder = join(into, "rollbridge")
  emptied(folder)
  const manifest = manifestIn(root)
  for (const ofCheckout of ["scripts", "devDependencies", "workspaces"]) delete manifest[ofCheckout]
  for (const name of [...manifest.files, ...always]) cpSync(join(root, name), join(folder, name), {recursive: true})
  const {version} = manifest
  const optionalDependencies = Object.fromEntries(targets.map((/** @type {string} */ target) => [nameOf(target), version]))
  writeManifest(folder, {...manifest, optionalDependencies})
  return folder
}

/**
 * The native parts for one platform.
 *
 * @param {string} into the folder it is assembled in, `into/rollbridge-<target>`
 * @param {{target: string, binary: string, addon: string}} native the target, and the files built for it
 */
export function assemblePlatformPackage(into, {target, binary, addon}) {
  for (const file of [binary, addon]) {
    if (!existsSync(file)) throw new Error(`${file} is missing: build ${target} first`)
  }
  const folder = join(into, nameOf(target))
  emptied(folder)
  writeManifest(folder, manifestIn(join(root, "npm", target)))
  copyFileSync(join(root, "LICENSE"), join(folder, "LICENSE"))
  const readme = `The native parts of [rollbridge](https://www.npmjs.com/package/rollbridge) for ${target}. Install that package.\n`
  writeFileSync(join(folder, "README.md"), `# ${nameOf(target)}\n\n${readme}`)
  copyFileSync(binary, join(folder, "rollbridge"))
  copyFileSync(addon, join(folder, addonName(target)))
  // Artifacts of a workflow arrive without it.
  chmodSync(join(folder, "rollbridge"), 0o755)
  return folder
}

/**
 * @typedef {object} Packed
 * @property {string} name
 * @property {string} file the tarball
 * @property {number} size bytes to download
 * @property {number} unpackedSize bytes on disk
 * @property {{path: string, mode: number}[]} files
 */

/**
 * Makes the tarballs that `npm publish` would upload, in the order of the folders.
 *
 * @param {string[]} folders
 * @param {string} into
 * @returns {Packed[]}
 */
export function pack(folders, into) {
  const options = ["--json", "--ignore-scripts", "--pack-destination", into]
  const output = execFileSync("npm", ["pack", ...folders, ...options], {encoding: "utf8", maxBuffer: 64 * 1024 * 1024})
  /** @type {(Packed & {filename: string})[]} */
  const packed = JSON.parse(output)
  return packed.map(({name, filename, size, unpackedSize, files}) => {
    return {name, file: join(into, filename), size, unpackedSize, files}
  })
}

/** @param {string} target */
export const nameOf = (target) => `rollbridge-${target}`

/** @param {string} target */
export const addonName = (target) => `rollbridge.${target}.node`
