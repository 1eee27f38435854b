"use strict"

// Crashes of the web process under load, and an honest account of what its clients and the application noticed.

const fs = require("node:fs")
const http = require("node:http")
const path = require("node:path")
const {setTimeout: wait} = require("node:timers/promises")
const {freePortRange} = require("./free-ports.js")
const {RunningDaemon} = require("./running-daemon.js")
const {waitUntil} = require("./wait-until.js")
const rollbridge = require("../../index.js")

const clientCount = 16
/** How long the load goes on between two crashes, once the next process serves, and how many requests it makes at least. */
const calmMs = 100
const calmRequests = 50

/** The application: it writes every POST into a ledger before it answers, and takes a moment for each answer. */
const application = `
const {createServer} = require("node:http")
const {openSync, writeSync} = require("node:fs")
const ledger = openSync(process.env.LEDGER, "a")
createServer((request, response) => {
  if (request.method === "POST") writeSync(ledger, request.url + "\\n")
  request.resume()
  request.on("end", () => {
    if (!request.url.startsWith("/long")) return void setTimeout(() => response.end(String(process.pid)), Math.random() * 5)
    response.write("begun ")
    setTimeout(() => response.end(String(process.pid)), Math.random() * 20)
  })
}).listen(process.env.PORT, "127.0.0.1")
`

/**
 * @typedef {object} Account
 * @property {number} kills
 * @property {number} gets
 * @property {string[]} failedGets what their clients saw instead of an answer
 * @property {number} cutAnswers answers that had begun when the process died; of GETs and POSTs
 * @property {number} posts
 * @property {number} refusedPosts those that got 502: the process may have seen them
 * @property {string[]} strangePosts those that ended otherwise
 * @property {string[]} doubledPosts
 * @property {string[]} lostPosts answered, but not in the ledger
 * @property {number} longestMs the longest time a successful GET took
 */

/**
 * Kills the web process so many times while clients send GETs and POSTs.
 *
 * @param {string} folder an empty one
 * @param {number} kills
 * @returns {Promise<Account>}
 */
async function crashUnderLoad(folder, kills) {
  const release = path.join(folder, "release")
  const ledger = path.join(folder, "ledger")
  const config = path.join(folder, "rollbridge.json")
  fs.mkdirSync(release)
  fs.writeFileSync(ledger, "")
  fs.writeFileSync(path.join(release, "server.js"), application)
  fs.writeFileSync(config, JSON.stringify({
    application: "crashes",
    control: {path: path.join(folder, "control.sock")},
    proxy: {port: 0, healthPath: "/", holdTimeoutMs: 20_000},
    processes: [
      {
        id: "web",
        policy: "proxied",
        command: `exec '${process.execPath}' server.js`,
        env: {PORT: "{{port}}", LEDGER: ledger},
        restartDelayMs: 0,
        port: await freePortRange(10)
      }
    ]
  }))
  const daemon = new RunningDaemon({configPath: config, logPath: path.join(folder, "daemon.log")})
  try {
    await daemon.ready()
    await rollbridge.deploy({config, releasePath: release, releaseId: "one"})
    const {proxy} = await daemon.status()
    const load = new Load(proxy.port)
    let pid = await waitUntil("the web process", () => webProcess(daemon))
    for (let kill = 0; kill < kills; kill += 1) {
      await load.calm()
      const killed = pid
      process.kill(killed, "SIGKILL")
      pid = await waitUntil("the next process serves", async () => {
        const next = await webProcess(daemon)
        return next !== killed && next === load.servedBy ? next : undefined
      })
    }
    await load.calm()
    await load.end()
    return load.account(kills, fs.readFileSync(ledger, "utf8").split("\n").filter(Boolean))
  } finally {
    await daemon.end()
  }
}

/** The pid of the web process, while there is one. @param {InstanceType<typeof RunningDaemon>} daemon */
async function webProcess(daemon) {
  const status = await daemon.status()
  return status.releases[0].processes[0].pid ?? undefined
}

/** Clients that never rest. */
class Load {
  /** The process that gave the latest answer. @type {number | undefined} */
  servedBy
  #over = false
  #number = 0
  /** @type {{method: string, url: string, outcome: string, ms: number}[]} */
  #done = []
  #agent = new http.Agent({keepAlive: true})
  #port
  #clients

  /** @param {number} port */
  constructor(port) {
    this.#port = port
    this.#clients = Array.from({length: clientCount}, () => this.#visit())
  }

  /** Goes on for some time without a crash. */
  async calm() {
    const goal = this.#done.length + calmRequests
    await wait(calmMs)
    await waitUntil("more requests", () => this.#done.length >= goal)
  }

  async end() {
    this.#over = true
    await Promise.all(this.#clients)
    this.#agent.destroy()
  }

  async #visit() {
    while (!this.#over) {
      const number = this.#number
      this.#number += 1
      const method = number % 3 === 0 ? "POST" : "GET"
      const url = `${number % 4 === 0 ? "/long" : ""}/${number}`
      const began = performance.now()
      const outcome = await this.#ask(method, url)
      this.#done.push({method, url, outcome, ms: performance.now() - began})
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @returns {Promise<string>} "answered", "cut", or what came instead
   */
  #ask(method, path) {
    return new Promise((resolve) => {
      const request = http.request({agent: this.#agent, host: "127.0.0.1", port: this.#port, method, path})
      request.on("error", (error) => resolve(error.message))
      request.on("response", (response) => {
        let body = ""
        response.on("data", (data) => (body += data))
        response.on("error", () => resolve("cut"))
        response.on("end", () => {
          if (response.statusCode !== 200) return resolve(`status ${response.statusCode}`)
          this.servedBy = Number(body.split(" ").at(-1))
          resolve("answered")
        })
      })
      request.end(method === "POST" ? "body" : undefined)
    })
  }

  /**
   * @param {number} kills
   * @param {string[]} ledger
   * @returns {Account}
   */
  account(kills, ledger) {
    const gets = this.#done.filter(({method}) => method === "GET")
    const posts = this.#done.filter(({method}) => method === "POST")
    const written = new Set(ledger)
    const failed = gets.filter(({outcome}) => !["answered", "cut"].includes(outcome))
    const strange = posts.filter(({outcome}) => !["answered", "cut", "status 502"].includes(outcome))
    return {
      kills,
      gets: gets.length,
      failedGets: failed.map(({url, outcome}) => `${url}: ${outcome}`),
      cutAnswers: this.#done.filter(({outcome}) => outcome === "cut").length,
      posts: posts.length,
      refusedPosts: posts.filter(({outcome}) => outcome === "status 502").length,
      strangePosts: strange.map(({url, outcome}) => `${url}: ${outcome}`),
      doubledPosts: ledger.filter((url, index) => ledger.indexOf(url) !== index),
      lostPosts: posts.filter(({url, outcome}) => outcome === "answered" && !written.has(url)).map(({url}) => url),
      longestMs: Math.max(...gets.filter(({outcome}) => outcome === "answered").map(({ms}) => ms))
    }
  }
}

module.exports = {crashUnderLoad}
