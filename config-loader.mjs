/**
 * Evaluates a Rollbridge config module and reduces what it exports to plain JSON.
 *
 * Two places run this file: a short-lived `node` child of the Rollbridge binary, and a worker thread of the Node API.
 * Either way the thread is new for every load, so nothing imported earlier is reused. It depends on nothing but Node.
 */

import {existsSync, realpathSync} from "node:fs"
import {createRequire} from "node:module"
import {basename, dirname, extname, join, relative} from "node:path"
import {fileURLToPath, pathToFileURL} from "node:url"

/** Deeper nesting than this is no config; the limit stays below that of the JSON parser on the other side. */
const MAX_DEPTH = 64

/** How long the search for the place of a syntax error may take. */
const SYNTAX_SEARCH_MS = 5000

/** A thrown message longer than this is cut. */
const MAX_MESSAGE_CHARACTERS = 2000

/**
 * @typedef {object} Problem
 * @property {(string | number)[]} path Keys and list positions that lead to the value; empty for the config itself.
 * @property {string} kind What stands there instead of JSON, as words that follow "is": `a function`, `NaN`.
 */

/**
 * Imports the module at `path`, calls what it exports if that is a function, and awaits the outcome.
 *
 * @param {string} path Absolute path of the module.
 * @returns {Promise<{value: unknown, problems: Problem[]}>} The config as JSON, with `null` where a problem is.
 * @throws {Error} With `code: "config_unreadable"` and a message that names the cause and where it is.
 */
export async function evaluate(path) {
  try {
    // A URL drops `..` by its text; where it leads through a link, the system goes another way.
    if (/\/\.\.\//.test(path)) path = join(realpathSync.native(dirname(path)), basename(path))
    const module = await import(pathToFileURL(path).href)
    const exported = exportOf(module)
    if (exported === undefined) return {value: null, problems: [{path: [], kind: "nothing"}]}

    return toJson(await (typeof exported === "function" ? exported() : exported))
  } catch (error) {
    throw Object.assign(new Error(explain(error, path)), {code: "config_unreadable"})
  }
}

/**
 * What a module offers as its config: the default export, which for CommonJS is `module.exports`.
 *
 * @param {Record<string, unknown>} module
 */
function exportOf(module) {
  const exported = module.default

  // A transpiled ES module arrives as CommonJS whose exports carry the default export.
  if (exported !== null && typeof exported === "object" && "__esModule" in exported && "default" in exported) {
    return exported.default
  }

  return exported
}

/**
 * Copies `value` into plain JSON, noting everything that JSON cannot hold. `undefined` disappears, as if never written.
 *
 * @param {unknown} value
 * @returns {{value: unknown, problems: Problem[]}}
 */
export function toJson(value) {
  /** @type {Problem[]} */
  const problems = []

  return {value: copy(value, [], new Set(), problems) ?? null, problems}
}

/**
 * @param {unknown} value
 * @param {(string | number)[]} path
 * @param {Set<object>} ancestors The objects around this value, to notice a cycle.
 * @param {Problem[]} problems
 * @returns {unknown}
 */
function copy(value, path, ancestors, problems) {
  if (value === undefined || value === null || typeof value === "boolean") return value

  const kind = unfit(value, ancestors)
  if (kind) {
    problems.push({path: path.map((step) => (typeof step === "string" ? wellFormed(step) : step)), kind})
    return null
  }
  if (typeof value !== "object") return value

  const around = new Set(ancestors).add(value)
  if (Array.isArray(value)) {
    return Array.from(value, (item, index) => copy(item, [...path, index], around, problems) ?? null)
  }

  /** @type {Record<string, unknown>} */
  const object = Object.create(null)
  for (const key of Object.keys(value)) {
    const copied = copy(/** @type {Record<string, unknown>} */ (value)[key], [...path, key], around, problems)
    if (copied !== undefined) object[wellFormed(key)] = copied
  }

  return object
}

/**
 * Says why JSON cannot hold this value; nothing when it can.
 *
 * @param {unknown} value
 * @param {Set<object>} ancestors
 * @returns {string | undefined}
 */
function unfit(value, ancestors) {
  switch (typeof value) {
    case "function": return "a function"
    case "symbol": return "a symbol"
    case "bigint": return "a BigInt"
    case "number": return Number.isFinite(value) ? undefined : String(value)
    case "string": return wellFormed(value) === value ? undefined : "text with half of a character in it"
    default: return unfitObject(/** @type {object} */ (value), ancestors)
  }
}

/**
 * @param {object} value
 * @param {Set<object>} ancestors
 * @returns {string | undefined}
 */
function unfitObject(value, ancestors) {
  if (ancestors.has(value)) return "a reference back to something it is part of"
  if (ancestors.size >= MAX_DEPTH) return `nested more than ${MAX_DEPTH} levels deep`
  if (Array.isArray(value)) return undefined

  // A plain object of another realm has another Object.prototype, but that too has no prototype.
  const prototype = Object.getPrototypeOf(value)
  if (prototype === null || Object.getPrototypeOf(prototype) === null) return undefined

  const name = prototype.constructor?.name
  if (name === "Promise") return "a Promise nobody awaited"

  return name ? `an instance of ${wellFormed(String(name))}` : "an instance of a class"
}

/**
 * Lone surrogates exist in JavaScript strings but not in Unicode text; each becomes U+FFFD.
 *
 * @param {string} text
 */
function wellFormed(text) {
  return text.replace(/\p{Surrogate}/gu, "\ufffd")
}

/**
 * One short message for what a config module threw: its own words, where it happened, and what to do when that is known.
 *
 * @param {unknown} error
 * @param {string} path
 */
export function explain(error, path) {
  if (!(error instanceof Error) && !(error && typeof error === "object" && "message" in error)) {
    return `it threw ${wellFormed(describe(error))}`
  }

  const thrown = /** @type {Error & {code?: string}} */ (error)
  const advice = adviceFor(thrown, path)
  if (advice) return advice

  const message = String(thrown.message).split("\nRequire stack:")[0]
  const own = (thrown.name === "SyntaxError" ? withoutSource(message) : message).slice(0, MAX_MESSAGE_CHARACTERS)
  const place = locate(thrown, path)

  return wellFormed(`${thrown.name || "Error"}: ${own}${place ? ` (at ${place})` : ""}`)
}

/**
 * The message of a syntax error without the piece of the file it quotes: that may be a secret. Punctuation stays, and
 * what an import asks for.
 *
 * @param {string} message
 */
function withoutSource(message) {
  if (/ is not valid JSON$/.test(message)) {
    return `${/^(\/.*?\.json: )?/.exec(message)?.[0] ?? ""}text that is not valid JSON`
  }
  if (message.startsWith("The requested module ")) return message

  return message.trimStart().split("\n")[0]
    .replace(/ token \S+ in JSON/, " token in JSON")
    .replace(/^(Invalid regular expression): .*: /, "$1: ")
    .replace(/^Cannot convert .* to a BigInt/, "Cannot convert text to a BigInt")
    .replace(/ ?(["'`])(.*?)\1/g, (quote, _mark, text) => (/^[^\w\s]{1,3}$/.test(text) ? quote : ""))
    .replace(/^(Identifier) has/, "An identifier has")
}

/** @param {unknown} thrown */
function describe(thrown) {
  return typeof thrown === "string" ? thrown.slice(0, MAX_MESSAGE_CHARACTERS) : `a value of type ${typeof thrown}`
}

/**
 * @param {Error & {code?: string}} error
 * @param {string} path
 * @returns {string | undefined}
 */
function adviceFor(error, path) {
  const typescript = /^\.[cm]?ts$/
  const unknownExtension = error.code === "ERR_UNKNOWN_FILE_EXTENSION" && /"(\.[cm]?ts)"/.test(error.message)
  const untouched = error instanceof SyntaxError && typescript.test(extname(path)) && !stripsTypes()
  if (unknownExtension || untouched) {
    return `Node ${process.version} cannot run TypeScript; use Node 22.18 or newer, ` +
      "or write the config as rollbridge.js or rollbridge.json"
  }

  if (error instanceof SyntaxError && /Unexpected token 'export'|Cannot use import statement/.test(error.message)) {
    return `SyntaxError: ${error.message} (at ${locate(error, path) ?? path}); Node takes this file for CommonJS, so name ` +
      `the config ${extname(path) === ".ts" ? "rollbridge.mts" : "rollbridge.mjs"}, ` + 'or add "type": "module" to package.json'
  }

  return undefined
}

/** Whether this Node runs TypeScript by stripping the types. */
function stripsTypes() {
  return Boolean(/** @type {{typescript?: unknown}} */ (process.features).typescript)
}

/**
 * Where in the user's files an error happened, as `file:line:column` relative to the config's folder.
 *
 * @param {Error} error
 * @param {string} path
 * @returns {string | undefined}
 */
function locate(error, path) {
  const lines = String(error.stack ?? "").split("\n")

  // Node puts `file:line` above the report of a syntax error; otherwise the first frame outside Node itself counts.
  const found = heading(lines[0]) ?? lines
    .map((line) => /^\s+at .*?((?:file:\/\/)?\/[^()]*?):(\d+:\d+)\)?$/.exec(line))
    .find((frame) => frame && existsSync(toPath(frame[1]))) ??
    (error instanceof SyntaxError ? searchSyntaxError(path) : undefined)
  if (!found) return undefined

  const file = toPath(found[1])
  const near = relative(dirname(path), file)

  return `${near.startsWith("..") ? file : near}:${found[2]}`
}

/** @param {string} line */
function heading(line) {
  return /^((?:file:\/\/)?\/.*):(\d+)$/.exec(line)
}

/**
 * A syntax error in an ES module does not say in which file it is; Node tells only when it dies of it. Nothing of the
 * module graph has run at that point, so trying again in a process of its own does no harm.
 *
 * @param {string} path
 */
function searchSyntaxError(path) {
  // Only now, because it takes some milliseconds to load.
  const {spawnSync} = createRequire(import.meta.url)("node:child_process")
  const program = `await import(${JSON.stringify(pathToFileURL(path).href)})`
  const attempt = spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
    encoding: "utf8",
    stdio: ["ignore", "ignore", "pipe"],
    timeout: SYNTAX_SEARCH_MS
  })

  return (attempt.stderr ?? "").split("\n").map(heading).find(Boolean)
}

/** @param {string} text */
function toPath(text) {
  return text.startsWith("file://") ? fileURLToPath(text) : text
}
