// Load on a port: as much as goes with wrk, or requests at a fixed rate.

import {spawn} from "node:child_process"
import {once} from "node:events"
import {connect} from "node:net"

/** What a browser sends, shortened only where it would be personal. */
const fields = {
  "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
  "Accept-Encoding": "gzip, deflate, br, zstd",
  "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
  "Cookie": "session=4f8a2c1d9e7b6a5f; theme=dark; consent=yes",
  "Referer": "http://shop.test/articles?page=2",
  "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
}

/**
 * Closed loop: every connection asks again as soon as it is answered.
 *
 * @param {number} port
 * @param {{connections: number, seconds: number}} options
 * @returns {Promise<{requests: number, perSecond: number, p50Us: number}>}
 */
export async function peak(port, {connections, seconds}) {
  const headers = Object.entries(fields).flatMap(([name, value]) => ["-H", `${name}: ${value}`])
  const args = ["-t1", `-c${connections}`, `-d${seconds}s`, "--latency", ...headers, `http://127.0.0.1:${port}/`]
  const wrk = spawn("wrk", args, {stdio: ["ignore", "pipe", "inherit"]})
  let text = ""
  wrk.stdout.on("data", (data) => { text += data })
  const [status] = await once(wrk, "close")
  if (status !== 0 || /Socket errors|Non-2xx/.test(text)) throw new Error(`wrk on port ${port}: ${text}`)
  const number = (/** @type {RegExp} */ pattern) => Number(pattern.exec(text)?.[1])
  const [, value, unit] = /50%\s+([\d.]+)(us|ms|s)/.exec(text) ?? []
  return {
    requests: number(/(\d+) requests in/),
    perSecond: number(/Requests\/sec:\s+([\d.]+)/),
    p50Us: Number(value) * {us: 1, ms: 1e3, s: 1e6}[/** @type {"us" | "ms" | "s"} */ (unit)]
  }
}

/**
 * Open loop: requests are due at fixed moments whatever the answers do, and each one's time counts from when it was
 * due. One that finds no free connection waits, and the wait counts. A request fails when its connection ends or its
 * answer is another one.
 *
 * @param {number} port
 * @param {{perSecond: number, seconds: number, connections: number}} options
 * @returns {Promise<{p50Us: number, p99Us: number, failed: number}>}
 */
export async function fixedRate(port, {perSecond, seconds, connections}) {
  const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`).join("")
  const request = `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${head}\r\n`
  const total = perSecond * seconds
  /** @type {number[]} */
  const times = []
  /** @type {number[]} */
  const waiting = []
  /** @type {((due: number) => void)[]} */
  const free = []
  let failed = 0
  /** @type {(value: unknown) => void} */
  let finish = () => {}
  const finished = new Promise((resolve) => { finish = resolve })

  const open = async () => {
    const socket = connect(port, "127.0.0.1").setNoDelay()
    let dueAt = 0
    let isBusy = false
    let unread = ""
    const ask = (/** @type {number} */ due) => {
      dueAt = due
      isBusy = true
      socket.write(request)
    }
    const next = () => {
      isBusy = false
      if (times.length + failed === total) finish(undefined)
      const due = waiting.shift()
      if (due === undefined) free.push(ask)
      else ask(due)
    }
    socket.on("data", (data) => {
      unread += data.toString("latin1")
      const ended = unread.endsWith("hello from the application")
      if (!ended && unread.startsWith("HTTP/1.1 200")) return
      if (ended) times.push((performance.now() - dueAt) * 1000)
      else failed += 1
      unread = ""
      next()
    })
    socket.on("error", () => {})
    socket.on("close", () => {
      if (isBusy) failed += 1
      const at = free.indexOf(ask)
      if (at >= 0) free.splice(at, 1)
      if (times.length + failed >= total) finish(undefined)
      else sockets.push(open())
    })
    await once(socket, "connect")
    free.push(ask)
    return socket
  }
  const sockets = Array.from({length: connections}, open)
  await Promise.all(sockets)
  const startedAt = performance.now()
  let sent = 0
  const tick = () => {
    for (;sent < total; sent += 1) {
      const due = startedAt + sent * 1000 / perSecond
      if (due > performance.now()) break
      const ask = free.pop()
      if (ask) ask(due)
      else waiting.push(due)
    }
    if (sent < total) setImmediate(tick)
  }
  tick()
  await finished
  for (const socket of await Promise.all(sockets)) socket.removeAllListeners("close").destroy()
  times.sort((a, b) => a - b)
  return {p50Us: times[Math.floor(times.length * 0.5)], p99Us: times[Math.floor(times.length * 0.99)], failed}
}
