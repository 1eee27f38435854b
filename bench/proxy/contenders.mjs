// The proxies that are compared, all in front of the same application. Each has one worker or thread and may use one CPU.

import {existsSync, writeFileSync} from "node:fs"
import {createRequire} from "node:module"
import {join} from "node:path"
import {fileURLToPath} from "node:url"
import {descriptors, lastCpu, run, start} from "./process.mjs"

const require = createRequire(import.meta.url)
const {freePort, freePortRange} = require("../../tests/support/free-ports.js")
const {findBinary} = require("../../lib/native.js")
const {waitUntil} = require("../../tests/support/wait-until.js")

const applicationFile = fileURLToPath(new URL("application.mjs", import.meta.url))

/**
 * @typedef {object} Contender
 * @property {string} name
 * @property {number} port
 * @property {number | undefined} pid the process that forwards, or is the parent of it; none when nothing is in between
 * @property {string[]} [again] the command that starts it
 * @property {() => Promise<void>} end
 */

/**
 * @typedef {object} Application
 * @property {(port: number | string, folder: string) => string} command a line for the shell
 */

/** A small answer for everything, and the folder's files under /files/, from nginx. @type {Application} */
export const smallAnswer = {
  command: (port, folder) => {
    const file = join(folder, "application.conf")
    const files = `location /files/ { alias ${folder}/; }`
    const answer = "return 200 'hello from the application';"
    writeFileSync(file, nginxConfig(folder, "application", port, answer, 4096, files))
    return `exec nginx -e ${folder}/application.log -c ${file}`
  }
}

/** What bench/proxy/application.mjs does. @type {Application} */
export const nodeApplication = {
  command: (port) => `exec ${process.execPath} ${applicationFile} ${port}`
}

/**
 * Starts the application and everything in front of it.
 *
 * @param {string} folder for configs and logs
 * @param {{application?: Application, connections?: number}} [options]
 * @returns {Promise<Contender[]>}
 */
export async function startContenders(folder, {application = smallAnswer, connections = 1024} = {}) {
  const {from} = await freePortRange(1)
  /** @type {Contender[]} */
  const started = []
  try {
    // The application is a process of Rollbridge, and the others share it.
    started.push(await startRollbridge(folder, {from, to: from}, application.command(from, folder)))
    await waitUntil("the application", () => answers(from))
    started.push({name: "direct", port: from, pid: undefined, end: async () => {}})
    started.push(await startNginx(folder, from, connections), await startHaproxy(folder, from, connections))
    for (const {name, port} of started) await waitUntil(name, () => answers(port))
    return started
  } catch (error) {
    await endContenders(started)
    throw error
  }
}

/** @param {Contender[]} contenders */
export async function endContenders(contenders) {
  for (const contender of contenders) await contender.end()
}

/**
 * A daemon with one release.
 *
 * @param {string} folder
 * @param {{from: number, to: number}} range
 * @param {string} command
 * @param {Record<string, unknown>} [proxy] more of its settings
 */
export async function startRollbridge(folder, range, command, proxy = {}) {
  const port = await freePort()
  const control = join(folder, "control.sock")
  const config = join(folder, "rollbridge.json")
  writeFileSync(config, JSON.stringify({
    application: "bench-proxy",
    control: {path: control},
    proxy: {port, maxConnections: 40_000, ...proxy},
    // The daemon may use one CPU, and what it starts every one.
    processes: [{
      id: "web",
      policy: "proxied",
      command: `PATH="$PATH:/usr/sbin"; export PATH; taskset -pc 0-${lastCpu} $$ >/dev/null; ${command}`,
      port: range,
      health: {path: "/", timeoutMs: 30_000}
    }]
  }))
  // The number of workers follows the CPUs the daemon may use.
  const daemon = start(findBinary(), ["daemon", "--config", config], {cpu: lastCpu, signal: "SIGTERM"})
  await waitUntil("the daemon", () => existsSync(control))
  const deploy = async (/** @type {string} */ releaseId) => {
    await run(findBinary(), ["deploy", "--config", config, "--release-path", folder, "--release-id", releaseId])
  }
  await deploy("bench")
  return {name: "rollbridge", port, pid: daemon.pid, end: daemon.end, deploy, config}
}

/**
 * @param {string} folder
 * @param {number} applicationPort
 * @param {number} connections
 * @returns {Promise<Contender>}
 */
async function startNginx(folder, applicationPort, connections) {
  const port = await freePort()
  const file = join(folder, "nginx.conf")
  const forward = `
    proxy_pass http://application; proxy_http_version 1.1;
    proxy_set_header Connection $upgrade; proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme; proxy_read_timeout 1h; proxy_send_timeout 1h;
    client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;`
  const upstream = `map $http_upgrade $upgrade { default upgrade; '' ''; }
  upstream application { server 127.0.0.1:${applicationPort}; keepalive 128; keepalive_requests 1000000000; }`
  const slots = Math.min(descriptors, 2 * connections + 1000)
  writeFileSync(file, nginxConfig(folder, "nginx", port, forward, slots, "", upstream))
  const again = ["nginx", "-e", join(folder, "nginx.log"), "-c", file]
  const {pid, end} = start("nginx", again.slice(1), {cpu: lastCpu})
  return {name: "nginx", port, pid, again, end}
}

/**
 * @param {string} folder
 * @param {number} applicationPort
 * @param {number} connections
 * @returns {Promise<Contender>}
 */
async function startHaproxy(folder, applicationPort, connections) {
  const port = await freePort()
  const file = join(folder, "haproxy.cfg")
  writeFileSync(file, `global
  nbthread 1
  maxconn ${connections + 100}
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen application
  bind 127.0.0.1:${port} backlog 4096
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-reuse always
  server web 127.0.0.1:${applicationPort}
`)
  const again = ["haproxy", "-db", "-f", file]
  const {pid, end} = start("haproxy", again.slice(1), {cpu: lastCpu})
  return {name: "haproxy", port, pid, again, end}
}

/**
 * @param {string} folder
 * @param {string} name
 * @param {number | string} port
 * @param {string} location
 * @param {number} slots connections it can have, both sides counted
 * @param {string} [more] beside the location
 * @param {string} [upstream]
 */
function nginxConfig(folder, name, port, location, slots, more = "", upstream = "") {
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
  return `daemon off; master_process off; pid ${folder}/${name}.pid; error_log ${folder}/${name}.log crit;
events { worker_connections ${slots}; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; sendfile on;
  ${paths.map((path) => `${path}_temp_path ${folder}/${name}-${path};`).join(" ")}
  ${upstream}
  server { listen 127.0.0.1:${port} backlog=4096; location / { ${location} } ${more} }
}
`
}

/** @param {number} port */
export function answers(port) {
  return fetch(`http://127.0.0.1:${port}/`).then((response) => response.ok, () => false)
}
