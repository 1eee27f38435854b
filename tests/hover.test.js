"use strict"

// What an editor shows while somebody writes a config: TypeScript's own language service is asked, as editors do.

const assert = require("node:assert/strict")
const path = require("node:path")
const {test} = require("node:test")
const ts = require("typescript")
const schema = require("../schema/rollbridge.schema.json")

const file = path.join(__dirname, "imagined-config.mts")

/** What has been typed so far, and how often it has changed. */
const typed = {text: "", version: 0}
/** @type {import("typescript").LanguageService} */
const editor = (() => {
  const options = {module: ts.ModuleKind.NodeNext, strict: true, noEmit: true, types: []}
  return ts.createLanguageService({
    useCaseSensitiveFileNames: () => ts.sys.useCaseSensitiveFileNames,
    readFile: ts.sys.readFile,
    directoryExists: ts.sys.directoryExists,
    getDirectories: ts.sys.getDirectories,
    getCompilationSettings: () => options,
    getScriptFileNames: () => [file],
    getScriptVersion: (name) => (name === file ? String(typed.version) : "1"),
    getCurrentDirectory: () => __dirname,
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    getScriptSnapshot: (name) => {
      const content = name === file ? typed.text : ts.sys.readFile(name)
      return content === undefined ? undefined : ts.ScriptSnapshot.fromString(content)
    },
    fileExists: (name) => name === file || ts.sys.fileExists(name)
  })
})()

/** @param {string} text */
function type(text) {
  typed.text = text
  typed.version += 1
}

/** @param {import("typescript").SymbolDisplayPart[] | undefined} parts */
const textOf = (parts) => (parts ?? []).map(({text}) => text).join("")

/** A config in which every field is used once; numbers mark the places to look at. */
const config = `import {defineConfig} from "../index.js"
export default defineConfig({
  $schema: "x",
  application: "x",
  control: {path: "x", mode: "660", owner: 1, group: 1},
  proxy: {
    host: "x", port: 1, upstreamHost: "x", healthPath: "x", healthTimeoutMs: 1, drainTimeoutMs: 1, forceStopTimeoutMs: 1,
    holdTimeoutMs: 1, maxHeldRequests: 1, maxConnections: 1, clientIdleTimeoutMs: 1, trustedProxies: []
  },
  releaseRetention: {keep: 1, maxAgeMs: 1},
  statePath: "x",
  legacyTakeover: {screens: [], processes: [{includes: [], name: "x"}], forceStopTimeoutMs: 1},
  processes: [
    {
      id: "web", policy: "proxied", command: "x", port: {from: 1, to: 2}, cwd: "x", env: {},
      health: {path: "x", timeoutMs: 1, intervalMs: 1, startDelayMs: 1, requestTimeoutMs: 1},
      stopSignal: "SIGTERM", gracefulStopMs: 1, restartDelayMs: 1,
      restart: {maxRestarts: 1, windowMs: 1, backoffFactor: 1, maxDelayMs: 1},
      memory: {limitBytes: 1, warnBytes: 1, checkIntervalMs: 1},
      lifecycle: {quietCommand: "x", drainCommand: "x", drainTimeoutMs: 1, stopCommand: "x"},
      outputLines: 1
    },
    {id: "worker", policy: "companion", command: "x", port: 1, nonBlockingDrain: true, replicas: 1},
    {id: "scheduler", policy: "singleton", command: "x", port: 1},
    {id: "broker", policy: "service", command: "x", port: 1, deployStrategy: "handoff"}
  ]
})
`

/**
 * Names of all fields in the schema.
 *
 * @param {any} part
 * @returns {string[]}
 */
function fieldsOf(part) {
  if (typeof part !== "object" || part === null) return []
  const own = part.properties ? Object.keys(part.properties) : []
  return [...own, ...Object.values(part).flatMap(fieldsOf)]
}

test("every config field is explained on hover", () => {
  type(config)
  assert.deepEqual(editor.getSemanticDiagnostics(file).map(({messageText}) => messageText), [])
  const places = [...config.matchAll(/([\w$]+): /g)].map((match) => ({name: match[1], at: match.index}))
  const unexplained = places.filter(({at}) => textOf(editor.getQuickInfoAtPosition(file, at)?.documentation).length < 10)
  assert.deepEqual(unexplained, [])
  // The config above is complete: the schema, made from the program's own table, has nothing that it lacks.
  const used = new Set(places.map(({name}) => name))
  assert.deepEqual([...new Set(fieldsOf(schema))].filter((name) => !used.has(name)), [])
})

test("the editor completes fields, and knows which ones a policy has", () => {
  const begun = (/** @type {string} */ text) => `import {defineConfig} from "../index.js"\ndefineConfig(${text}`
  const completions = (/** @type {string} */ text) => {
    const whole = begun(text)
    type(whole.replace("|", ""))
    const entries = editor.getCompletionsAtPosition(file, whole.indexOf("|"), {})?.entries ?? []
    return entries.map(({name}) => name)
  }
  const top = completions("{|})")
  for (const name of Object.keys(schema.properties)) assert.ok(top.some((entry) => entry.includes(name)), `${name} of ${top}`)
  assert.ok(completions('{processes: [{policy: "service", |}]})').includes("deployStrategy"))
  assert.ok(!completions('{processes: [{policy: "singleton", |}]})').includes("replicas"))
  assert.ok(completions('{processes: [{policy: "|"}]})').includes("proxied"))
})
