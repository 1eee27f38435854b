#!/usr/bin/env node
"use strict"

// Finds the native binary and becomes it, so that pid, descriptors and signals are the binary's own. Where the addon
// that can do this is not loadable, the binary runs as a child and this process passes signals on.

const {findAddon, findBinary} = require("../lib/native.js")

/** @returns {string} why this process is still itself */
function becomeBinary(/** @type {string} */ binary, /** @type {string[]} */ args) {
  try {
    return require(findAddon()).becomeBinary(binary, args, additions)
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** The binary evaluates config modules with the Node that runs this file. */
const additions = {ROLLBRIDGE_NODE: process.execPath}

function main() {
  let binary
  try {
    binary = findBinary()
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : error}`)
    process.exitCode = 1
    return
  }
  const args = process.argv.slice(2)
  const notReplaced = becomeBinary(binary, args)
  const {runAsChild} = require("../lib/run-as-child.js")
  runAsChild({binary, args, env: {...process.env, ...additions}, notReplaced})
}

main()
