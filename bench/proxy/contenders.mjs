// The proxies that are compared, all in front of the same small nginx application. Each has one worker or thread and may
// use one CPU, the last one; the application and the load may use every CPU.

import {execFile, spawn} from "node:child_process"
import {existsSync, readFileSync, readdirSync, writeFileSync} from "node:fs"
import {once} from "node:events"
import {createRequire} from "node:module"
import {cpus} from "node:os"
import {delimiter, join} from "node:path"
import {promisify} from "node:util"

const require = createRequire(import.meta.url)
const {freePort, freePortRange} = require("../../tests/support/free-ports.js")
const {findBinary} = require("../../lib/native.js")
const {waitUntil} = require("../../tests/support/wait-until.js")

const lastCpu = cpus().length - 1

/**
 * @typedef {object} Contender
 * @property {string} name
 * @property {number} port
 * @property {number | undefined} pid the process that forwards; none when nothing is in between
 * @property {() => Promise<void>} end
 */

/**
 * Starts the application and everything in front of it.
 *
 * @param {string} folder for configs and logs
 * @returns {Promise<Contender[]>}
 */
export async function startContenders(folder) {
  const {from} = await freePortRange(1)
  const application = join(folder, "application.conf")
  writeFileSync(application, nginxConfig(folder, "application", from, "return 200 'hello from the application';"))
  /** @type {Contender[]} */
  const started = []
  try {
    // The application is a process of Rollbridge, and the others share it.
    started.push(await startRollbridge(folder, from, application))
    await waitUntil("the application", () => answers(from))
    started.push({name: "direct", port: from, pid: undefined, end: async () => {}})
    started.push(await startNginx(folder, from), await startHaproxy(folder, from))
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
 * @param {string} folder
 * @param {number} applicationPort
 * @param {string} application
 */
async function startRollbridge(folder, applicationPort, application) {
  const port = await freePort()
  const control = join(folder, "control.sock")
  const config = join(folder, "rollbridge.json")
  writeFileSync(config, JSON.stringify({
    application: "bench-proxy",
    control: {path: control},
    proxy: {port},
    processes: [{
      id: "web",
      policy: "proxied",
      command: `PATH="$PATH:/usr/sbin" exec taskset -c 0-${lastCpu} nginx -e ${folder}/application.log -c ${application}`,
      port: {from: applicationPort, to: applicationPort},
      health: false
    }]
  }))
  // The number of workers follows the CPUs the daemon may use.
  const daemon = child("rollbridge", port, findBinary(), ["daemon", "--config", config], "SIGTERM")
  await waitUntil("the daemon", () => existsSync(control))
  const deploy = ["deploy", "--config", config, "--release-path", folder, "--release-id", "bench"]
  await promisify(execFile)(findBinary(), deploy)
  return daemon
}

/**
 * @param {string} folder
 * @param {number} applicationPort
 */
async function startNginx(folder, applicationPort) {
  const port = await freePort()
  const file = join(folder, "nginx.conf")
  const forward = `
    proxy_pass http://application; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;`
  const upstream = `upstream application { server 127.0.0.1:${applicationPort}; keepalive 128; keepalive_requests 1000000000; }`
  writeFileSync(file, nginxConfig(folder, "nginx", port, forward, upstream))
  return child("nginx", port, "nginx", ["-e", join(folder, "nginx.log"), "-c", file])
}

/**
 * @param {string} folder
 * @param {number} applicationPort
 */
async function startHaproxy(folder, applicationPort) {
  const port = await freePort()
  const file = join(folder, "haproxy.cfg")
  writeFileSync(file, `global
  nbthread 1
  maxconn 1000
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen application
  bind 127.0.0.1:${port}
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-reuse always
  server web 127.0.0.1:${applicationPort}
`)
  return child("haproxy", port, "haproxy", ["-db", "-f", file])
}

/**
 * @param {string} folder
 * @param {string} name
 * @param {number} port
 * @param {string} location
 * @param {string} [upstream]
 */
function nginxConfig(folder, name, port, location, upstream = "") {
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
  return `daemon off; master_process off; pid ${folder}/${name}.pid; error_log ${folder}/${name}.log crit;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
  ${paths.map((path) => `${path}_temp_path ${folder}/${name}-${path};`).join(" ")}
  ${upstream}
  server { listen 127.0.0.1:${port} backlog=1024; location / { ${location} } }
}
`
}

/**
 * @param {string} name
 * @param {number} port
 * @param {string} command
 * @param {string[]} args
 * @param {NodeJS.Signals} [signal] ends it
 * @returns {Contender}
 */
function child(name, port, command, args, signal = "SIGKILL") {
  const env = {...process.env, PATH: `${process.env.PATH}${delimiter}/usr/sbin`}
  // taskset becomes the command, so the pid is the proxy's own.
  const started = spawn("taskset", ["-c", String(lastCpu), command, ...args], {stdio: "ignore", env})
  const ended = once(started, "exit")
  const end = async () => {
    started.kill(signal)
    await ended
  }
  return {name, port, pid: started.pid, end}
}

/** @param {number} port */
function answers(port) {
  return fetch(`http://127.0.0.1:${port}/`).then((response) => response.ok, () => false)
}

/**
 * Time all threads of a process have spent on a CPU, in microseconds.
 *
 * @param {number} pid
 */
export function cpuMicroseconds(pid) {
  const threads = readdirSync(`/proc/${pid}/task`)
  return threads.reduce((sum, thread) => {
    return sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]) / 1000
  }, 0)
}

/** @param {number} pid */
export function residentMegabytes(pid) {
  const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))
  return Number(kilobytes?.[1]) / 1024
}
