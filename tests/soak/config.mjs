// The daemons of the runs: one with a process of every policy, one with as little as possible.

import {join} from "node:path"

/** Where web processes may listen: away from the ports that the system gives to clients, and from those of other tests. */
const firstPort = 10_000 + (process.pid % 50) * 200
const webPorts = {from: firstPort, to: firstPort + 199}
/** How long a retired release keeps its connections. */
export const drainTimeoutMs = 6000
const mebibyte = 1024 * 1024

/**
 * The application of the soak.
 *
 * @param {import("./stage.mjs").Stage} stage
 * @param {number[]} ports
 */
export function soakConfig(stage, [port, brokerPort]) {
  const common = (/** @type {string} */ role) => ({
    id: role, command: `exec '${process.execPath}' main.mjs ${role}`, restartDelayMs: 100, env: {LEDGER: stage.ledger}
  })
  const proxy = {healthTimeoutMs: 60_000, drainTimeoutMs, forceStopTimeoutMs: 10_000, holdTimeoutMs: 45_000}
  return {
    ...base(stage, port),
    statePath: join(stage.stateFolder, "soak.json"),
    releaseRetention: {keep: 5},
    proxy: {port, healthPath: "/ping", ...proxy},
    processes: [
      {...common("broker"), policy: "service", port: brokerPort},
      {...common("worker"), policy: "companion"},
      {...common("scheduler"), policy: "singleton"},
      {
        ...common("web"), policy: "proxied", port: webPorts, restartDelayMs: 0, outputLines: 2000,
        memory: {limitBytes: 350 * mebibyte, checkIntervalMs: 1000}
      }
    ]
  }
}

/**
 * The daemon whose leaks are looked for.
 *
 * @param {import("./stage.mjs").Stage} stage
 * @param {number[]} ports
 */
export function smallConfig(stage, [port]) {
  const answer = "require('http').createServer((q, r) => r.end('ok')).listen(process.env.ROLLBRIDGE_PORT, '127.0.0.1')"
  return {
    ...base(stage, port),
    releaseRetention: {keep: 2},
    proxy: {port, healthPath: "/"},
    processes: [
      {id: "web", policy: "proxied", command: `exec '${process.execPath}' -e "${answer}"`, port: webPorts},
      {id: "sleeper", policy: "service", command: "exec sleep 100000", restartDelayMs: 0}
    ]
  }
}

/**
 * @param {import("./stage.mjs").Stage} stage
 * @param {number} port
 */
function base(stage, port) {
  return {application: "soak", control: {path: stage.socket}, proxy: {port}}
}
