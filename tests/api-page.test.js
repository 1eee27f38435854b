"use strict"

// docs/api.md against the package: every function with every option, every field of an error, every member of Daemon.
// Its examples are run by docs.test.js.

const assert = require("node:assert/strict")
const fs = require("node:fs")
const path = require("node:path")
const {test} = require("node:test")
const ts = require("typescript")
const rollbridge = require("..")

const root = path.join(__dirname, "..")
const page = fs.readFileSync(path.join(root, "docs", "api.md"), "utf8")
const program = ts.createProgram([path.join(root, "index.d.ts")], {module: ts.ModuleKind.NodeNext, types: []})
const checker = program.getTypeChecker()
const source = /** @type {import("typescript").SourceFile} */ (program.getSourceFile(path.join(root, "index.d.ts")))
const exported = new Map(
  checker
    .getExportsOfModule(/** @type {import("typescript").Symbol} */ (checker.getSymbolAtLocation(source)))
    .map((symbol) => [symbol.name, symbol])
)

/** @param {string} name */
const typeOf = (name) => {
  const symbol = exported.get(name)
  assert.ok(symbol, `${name} is not in index.d.ts`)
  return symbol
}

/**
 * The options of a function, over all its forms.
 *
 * @param {string} name
 */
function optionsOf(name) {
  const signatures = checker.getTypeOfSymbol(typeOf(name)).getCallSignatures()
  const options = signatures.flatMap((signature) => {
    const [parameter] = signature.getParameters()
    return checker.getNonNullableType(checker.getTypeOfSymbol(parameter)).getProperties().map((property) => property.name)
  })
  return new Set(options.filter((option) => option !== "config"))
}

/** The table of functions: name to the words in code style of its second column. */
const rows = new Map(
  [...page.matchAll(/^\| `(\w+)` \| (.*?) ?\| /gm)].map(([, name, options]) => [
    name,
    new Set([...options.matchAll(/`(\w+)`/g)].map(([, option]) => option))
  ])
)

const functions = Object.keys(rollbridge).filter((name) => !["Daemon", "RollbridgeError", "defineConfig"].includes(name))

test("the types name what the package exports, and no other values", () => {
  const isValue = (/** @type {import("typescript").Symbol} */ {flags}) =>
    Boolean(flags & (ts.SymbolFlags.Function | ts.SymbolFlags.Class))
  const values = [...exported.values()].filter(isValue).map(({name}) => name)
  assert.deepEqual(values.sort(), Object.keys(rollbridge).sort())
})

for (const name of functions) {
  test(`the page has ${name} with all its options`, () => {
    assert.deepEqual([...(rows.get(name) ?? ["not on the page"])].sort(), [...optionsOf(name)].sort())
  })
}

test("the page has every field of an error and every member of Daemon", () => {
  const error = checker.getDeclaredTypeOfSymbol(typeOf("RollbridgeError")).getProperties().map((property) => property.name)
  const ofError = error.filter((name) => !["name", "message", "stack", "cause"].includes(name))
  const members = Object.getOwnPropertyNames(rollbridge.Daemon.prototype).filter((name) => name !== "constructor")
  for (const name of [...ofError, ...members]) assert.match(page, new RegExp(`\`${name}(\\(\\))?\``))
  const typed = checker.getDeclaredTypeOfSymbol(typeOf("Daemon")).getProperties().map((property) => property.name)
  assert.deepEqual(typed.filter((name) => !name.startsWith("__@")).sort(), members.sort())
})

test("the types have every error code that the command line page lists", () => {
  const codes = [...fs.readFileSync(path.join(root, "docs", "cli.md"), "utf8").matchAll(/^\| `([a-z_]+)` \| [0-4] \|/gm)]
  assert.ok(codes.length >= 18)
  const union = /** @type {import("typescript").UnionType} */ (checker.getDeclaredTypeOfSymbol(typeOf("ErrorCode")))
  const typed = union.types.map((type) => /** @type {import("typescript").StringLiteralType} */ (type).value)
  for (const [, code] of codes) assert.ok(typed.includes(code), `${code} is not in index.d.ts`)
})

test("the types have every event that the command line page lists", () => {
  const listed = fs.readFileSync(path.join(root, "docs", "cli.md"), "utf8").split("The messages are ")[1].split(". ")[0]
  const types = fs.readFileSync(path.join(root, "index.d.ts"), "utf8")
  for (const [, message] of listed.matchAll(/`([^`]+)`/g)) assert.ok(types.includes(`| "${message}"`), message)
})
