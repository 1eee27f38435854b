// Draws docs/pictures from what scripts/pictures says. A test keeps both the same.
// Usage: node scripts/pictures.mjs

import {writeFileSync} from "node:fs"
import {join} from "node:path"
import {pathToFileURL} from "node:url"
import {root} from "./run-command.mjs"
import deploy from "./pictures/deploy.mjs"
import keeperAndEngine from "./pictures/keeper-and-engine.mjs"
import process_ from "./pictures/process.mjs"
import release from "./pictures/release.mjs"

/** Every picture by its file. */
export const pictures = new Map([
  ["deploy.svg", String(deploy)],
  ["keeper-and-engine.svg", String(keeperAndEngine)],
  ["process.svg", String(process_)],
  ["release.svg", String(release)]
])

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const [name, svg] of pictures) writeFileSync(join(root, "docs", "pictures", name), svg)
}
