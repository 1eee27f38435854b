"use strict"

// Whether a file is a program for this machine. To be asked before it is spawned: what the system does not recognise as
// a program is handed to the shell, which would read it as a script.

const fs = require("node:fs")

const elf = Buffer.from([0x7f, 0x45, 0x4c, 0x46])
const machO = Buffer.from([0xcf, 0xfa, 0xed, 0xfe])

/** What stands for the processor, and where. */
const elfMachines = /** @type {Record<string, number>} */ ({x64: 62, arm64: 183})
const machOProcessors = /** @type {Record<string, number>} */ ({x64: 0x01000007, arm64: 0x0100000c})

/**
 * Why the file is no program for this machine; `undefined` if it may be one.
 *
 * @param {string} file
 * @returns {string | undefined}
 */
function foreignProgram(file) {
  const head = Buffer.alloc(20)
  try {
    const descriptor = fs.openSync(file, "r")
    fs.readSync(descriptor, head, 0, head.length, 0)
    fs.closeSync(descriptor)
  } catch {
    // A program need not be readable; whoever runs it hears from the system.
    return undefined
  }
  const isScript = head.toString("latin1", 0, 2) === "#!"
  return isScript || isForHere(head) ? undefined : `it is no program for ${process.platform} on ${process.arch}`
}

/** @param {Buffer} head */
function isForHere(head) {
  const {platform, arch} = process
  if (platform === "darwin") return head.subarray(0, 4).equals(machO) && head.readUInt32LE(4) === machOProcessors[arch]
  return head.subarray(0, 4).equals(elf) && head.readUInt16LE(18) === elfMachines[arch]
}

module.exports = {foreignProgram}
