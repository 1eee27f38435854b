"use strict"

// A real nginx with the configuration that docs/nginx.md shows.

const {spawn} = require("node:child_process")
const {once} = require("node:events")
const fs = require("node:fs")
const path = require("node:path")
const {freePort} = require("./free-ports.js")
const {shownFile} = require("./pages.js")
const {waitUntil} = require("./wait-until.js")

/** What surrounds the page's configuration: here everything is in one folder, and nothing needs root. */
const around = (/** @type {string} */ folder, /** @type {string} */ shown) => `
daemon off;
${process.getuid?.() === 0 ? "user root;" : ""}
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
  ${shown}
}
`

/**
 * Starts it in a folder of its own; it ends with the test. Resolves to its port and to what reads its error log.
 *
 * @param {import("node:test").TestContext} t
 * @param {object} options
 * @param {string} options.parent where its folder is made
 * @param {number} options.proxyPort where Rollbridge listens
 * @param {(config: string) => string} [options.change] what a test has otherwise than the page
 */
async function startNginx(t, {parent, proxyPort, change = (config) => config}) {
  const port = await freePort()
  const folder = path.join(parent, "nginx")
  fs.mkdirSync(folder)
  const shown = change(shownFile("docs/nginx.md", "ticket-server.conf"))
    .replace("listen 80;", `listen 127.0.0.1:${port};`)
    .replaceAll("8182", String(proxyPort))
  const file = path.join(folder, "nginx.conf")
  const errorLog = path.join(folder, "error.log")
  fs.writeFileSync(file, around(folder, shown))
  const search = `${process.env.PATH}${path.delimiter}/usr/sbin`
  const nginx = spawn("nginx", ["-c", file, "-e", errorLog], {stdio: "ignore", env: {...process.env, PATH: search}})
  const ended = once(nginx, "exit")
  t.after(async () => {
    nginx.kill("SIGTERM")
    await ended
  })
  await waitUntil("nginx", () => fetch(`http://127.0.0.1:${port}/`).then(() => true, () => false))
  return {port, errors: () => fs.readFileSync(errorLog, "utf8")}
}

module.exports = {startNginx}
