"use strict"

// The usual way to serve: nginx in front, Rollbridge behind it, releases changing underneath.

const assert = require("node:assert/strict")
const {spawn} = require("node:child_process")
const {once} = require("node:events")
const fs = require("node:fs")
const http = require("node:http")
const path = require("node:path")
const {test} = require("node:test")
const {WebSocket} = require("ws")
const {freePort} = require("./support/free-ports.js")
const {requireTool} = require("./support/required-tool.js")
const {runningTicketServer} = require("./support/ticket-server.js")
const {waitUntil} = require("./support/wait-until.js")

const clientCount = 8

/**
 * @param {string} folder
 * @param {number} port where nginx listens
 * @param {number} proxyPort where Rollbridge does
 */
const nginxConfig = (folder, port, proxyPort) => `
daemon off;
worker_processes 1;
error_log ${folder}/error.log;
pid ${folder}/nginx.pid;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
  upstream rollbridge { server 127.0.0.1:${proxyPort}; keepalive 16; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://rollbridge;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_read_timeout 1h;
    }
  }
}
`

/**
 * @param {import("node:test").TestContext} t
 * @param {string} folder
 * @param {number} proxyPort
 */
async function startNginx(t, folder, proxyPort) {
  const port = await freePort()
  const file = path.join(folder, "nginx.conf")
  fs.writeFileSync(file, nginxConfig(folder, port, proxyPort))
  const search = `${process.env.PATH}${path.delimiter}/usr/sbin`
  const nginx = spawn("nginx", ["-c", file, "-e", path.join(folder, "error.log")], {
    stdio: "ignore", env: {...process.env, PATH: search}
  })
  const ended = once(nginx, "exit")
  t.after(async () => {
    nginx.kill("SIGTERM")
    await ended
  })
  await waitUntil("nginx", () => fetch(`http://127.0.0.1:${port}/ping`).then(() => true, () => false))
  return port
}

/**
 * Sends requests over one kept-alive connection until told to stop.
 *
 * @param {number} port
 * @param {{running: boolean}} state
 */
async function keepAsking(port, state) {
  const agent = new http.Agent({keepAlive: true, maxSockets: 1})
  /** @type {string[]} */
  const failures = []
  let answered = 0
  while (state.running) {
    await new Promise((resolve) => {
      const request = http.get({port, host: "127.0.0.1", path: "/version", agent}, (response) => {
        if (response.statusCode !== 200) failures.push(`status ${response.statusCode}`)
        response.resume().on("end", () => resolve(answered += 1))
      })
      request.on("error", (error) => resolve(failures.push(error.message)))
    })
  }
  agent.destroy()
  return {failures, answered}
}

test("behind nginx, deploys cost no request and no WebSocket", async (t) => {
  if (!requireTool(t, "nginx")) return
  const {deploy, folder, proxyPort} = await runningTicketServer(t)
  await deploy("v1", "first")
  const port = await startNginx(t, folder, proxyPort)

  const socket = new WebSocket(`ws://127.0.0.1:${port}/live`)
  let messages = 0
  socket.on("message", () => {
    messages += 1
  })
  await once(socket, "open")
  const state = {running: true}
  const clients = Array.from({length: clientCount}, () => keepAsking(port, state))

  await deploy("v2", "second")
  const version = /** @type {{releaseId: string}} */ (await (await fetch(`http://127.0.0.1:${port}/version`)).json())
  assert.equal(version.releaseId, "second")
  const seen = messages
  await waitUntil("messages of the old release on the old WebSocket", () => messages > seen + 2)
  await deploy("v1", "third")
  assert.equal(socket.readyState, WebSocket.OPEN)

  state.running = false
  for (const {failures, answered} of await Promise.all(clients)) {
    assert.deepEqual(failures, [])
    assert.ok(answered > 0)
  }
  socket.close()
  await once(socket, "close")
})
