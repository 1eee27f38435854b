// How Node's own HTTP parser reads a stream, strictly, as its server and client do. One job a line on stdin, one reading
// a line on stdout; every character of a text stands for one byte.

import {createRequire} from "node:module"
import {createInterface} from "node:readline"

const {HTTPParser, methods} = createRequire(import.meta.url)("_http_common")
const largestHead = 128 * 1024
// What the parser says when the stream ends within a message.
const tooShort = "HPE_INVALID_EOF_STATE"

for await (const line of createInterface({input: process.stdin})) {
  const {kind, asked, stream} = JSON.parse(line)
  console.log(JSON.stringify(read(kind, asked, Buffer.from(stream, "latin1"))))
}

/**
 * @param {"requests" | "answers"} kind
 * @param {string[]} asked the methods that answers belong to
 * @param {Buffer} stream
 */
function read(kind, asked, stream) {
  const reading = {messages: [], error: null}
  const methodsLeft = [...asked]
  for (let at = 0; at < stream.length; ) {
    const consumed = readOn(kind, methodsLeft, stream.subarray(at), reading)
    // It has ended, or something else than HTTP follows.
    const last = reading.messages.at(-1)
    if (consumed === null || last?.start[0] === "CONNECT" || last?.start[0] === "101") break
    at += consumed
  }
  return reading
}

/**
 * Reads to the end, and returns null then; or up to an upgrade, which nobody here wants, and returns how far that is:
 * HTTP goes on behind it, but not with the same parser, which keeps quiet about errors from then on.
 *
 * @param {"requests" | "answers"} kind
 * @param {string[]} methodsLeft
 * @param {Buffer} stream
 * @param {{messages: any[], error: string | null}} reading
 */
function readOn(kind, methodsLeft, stream, reading) {
  let message
  let flushed = []
  let target = ""
  const parser = new HTTPParser()
  parser.initialize(kind === "requests" ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, largestHead, HTTPParser.kLenientNone)
  // A head with many fields comes in parts; what comes after the head are trailers.
  parser[HTTPParser.kOnHeaders] = (fields, url) => {
    if (message && !message.complete) return message.trailers.push(...pairs(fields))
    flushed.push(...pairs(fields))
    target += url
  }
  parser[HTTPParser.kOnHeadersComplete] = (major, minor, fields, method, url, code, reason) => {
    const all = [...flushed, ...pairs(fields ?? [])]
    flushed = []
    message = {isHttp10: major === 1 && minor === 0, fields: all, body: "", trailers: [], complete: false}
    reading.messages.push(message)
    if (kind === "requests") {
      message.start = [methods[method] ?? `method ${method}`, target || url]
      target = ""
      return message.start[0] === "CONNECT" ? 2 : 0
    }
    message.start = [String(code).padStart(3, "0"), reason]
    if (code < 200) return code === 101 ? 2 : 1
    return methodsLeft.shift() === "HEAD" ? 1 : 0
  }
  parser[HTTPParser.kOnBody] = (bytes) => {
    message.body += bytes.latin1Slice()
  }
  parser[HTTPParser.kOnMessageComplete] = () => {
    message.complete = true
  }
  const consumed = parser.execute(stream)
  if (!(consumed instanceof Error) && consumed < stream.length) return consumed
  const outcome = consumed instanceof Error ? consumed : parser.finish()
  if (outcome instanceof Error && outcome.code !== tooShort) reading.error = `${outcome.code}: ${outcome.reason}`
  return null
}

/** @param {string[]} flat */
function pairs(flat) {
  const list = []
  for (let at = 0; at < flat.length; at += 2) list.push([flat[at], flat[at + 1]])
  return list
}
