// Large bodies: what a gigabyte costs, whether it arrives whole, and how much memory it takes on its way.

import {createHash} from "node:crypto"
import {mkdtempSync, rmSync, writeFileSync} from "node:fs"
import {request} from "node:http"
import {tmpdir} from "node:os"
import {join} from "node:path"
import {Readable} from "node:stream"
import {pipeline} from "node:stream/promises"
import {checksum, pieces} from "./proxy/bodies.mjs"
import {endContenders, nodeApplication, smallAnswer, startContenders} from "./proxy/contenders.mjs"
import {median} from "./proxy/median.mjs"
import {cpuMicroseconds, memoryBytes, run} from "./proxy/process.mjs"

const largeBytes = 100_000_000

/** @param {import("./proxy/figure.mjs").Options} options */
export async function measure({quick}) {
  return [await cpuPerGigabyte(quick ? 3 : 9), ...(await whole(quick ? 200_000_000 : 1_000_000_000))]
}

/** @param {number} rounds */
async function cpuPerGigabyte(rounds) {
  const folder = mkdtempSync(join(tmpdir(), "rollbridge-bench-"))
  writeFileSync(join(folder, "large"), Buffer.concat([...pieces(largeBytes)]))
  const contenders = await startContenders(folder, {application: smallAnswer})
  try {
    /** @type {Record<string, number[]>} */
    const costs = {}
    for (let round = -1; round < rounds; round += 1) {
      for (const {name, port, pid} of contenders) {
        if (!pid) continue
        const before = cpuMicroseconds(pid)
        const arguments_ = ["-sS", "-o", "/dev/null", "-w", "%{size_download}", `http://127.0.0.1:${port}/files/large`]
        const {stdout} = await run("curl", arguments_)
        if (Number(stdout) !== largeBytes) throw new Error(`${name} has delivered ${stdout} of ${largeBytes} bytes`)
        const cost = (cpuMicroseconds(pid) - before) / 1000 / (largeBytes / 1e9)
        // The first round is for warming up.
        if (round >= 0) (costs[name] ??= []).push(cost)
      }
    }
    return {
      what: "CPU per GB of a 100 MB answer ÷ nginx's",
      value: median(costs.rollbridge.map((cost, round) => cost / costs.nginx[round])), unit: "×", goal: 1,
      how: `medians of ${rounds} alternating downloads with curl`,
      beside: Object.fromEntries(Object.entries(costs).map(([name, each]) => [name, median(each)])), in: "ms/GB"
    }
  } finally {
    await endContenders(contenders)
    rmSync(folder, {recursive: true, force: true})
  }
}

/** One download and one upload of this size. @param {number} bytes */
async function whole(bytes) {
  const folder = mkdtempSync(join(tmpdir(), "rollbridge-bench-"))
  const contenders = await startContenders(folder, {application: nodeApplication})
  const expected = checksum(bytes)
  /** @type {Record<string, Record<string, number>>} */
  const grown = {download: {}, upload: {}}
  let wrong = 0
  try {
    for (const {name, port, pid} of contenders) {
      if (!pid) continue
      for (const [way, move] of Object.entries({download, upload})) {
        const before = memoryBytes(pid, "RssAnon")
        let most = before
        const watch = setInterval(() => { most = Math.max(most, memoryBytes(pid, "RssAnon")) }, 20)
        const sum = await move(port, bytes)
        clearInterval(watch)
        grown[way][name] = (most - before) / 1024
        if (name === "rollbridge" && sum !== expected) wrong += 1
      }
    }
  } finally {
    await endContenders(contenders)
    rmSync(folder, {recursive: true, force: true})
  }
  const size = `${bytes / 1e9} GB`
  const how = "growth of anonymous resident memory while it is under way, looked at every 20 ms"
  return [
    ...Object.entries(grown).map(([way, beside]) => {
      return {what: `memory for one ${way} of ${size}`, value: beside.rollbridge, unit: "KB", goal: 1024, how, beside, in: "KB"}
    }),
    {what: `checksums that differ after ${size} each way`, value: wrong, unit: "of 2", goal: 0, how: "SHA-256 at both ends"}
  ]
}

/**
 * @param {number} port
 * @param {number} bytes
 */
async function download(port, bytes) {
  const response = await new Promise((resolve, reject) => {
    request({host: "127.0.0.1", port, path: `/download?bytes=${bytes}`}, resolve).on("error", reject).end()
  })
  const hash = createHash("sha256")
  for await (const piece of response) hash.update(piece)
  return hash.digest("hex")
}

/**
 * @param {number} port
 * @param {number} bytes
 */
async function upload(port, bytes) {
  const sending = request({
    host: "127.0.0.1", port, path: "/upload", method: "POST", headers: {"content-length": bytes}
  })
  const answered = new Promise((resolve, reject) => sending.on("response", resolve).on("error", reject))
  await pipeline(Readable.from(pieces(bytes)), sending)
  let sum = ""
  for await (const piece of await answered) sum += piece
  return sum
}
