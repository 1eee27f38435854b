"use strict"

// A real sshd on loopback for the user who runs the tests, with keys of its own. It ends with the test.

const {execFileSync, spawn} = require("node:child_process")
const {once} = require("node:events")
const fs = require("node:fs")
const net = require("node:net")
const os = require("node:os")
const path = require("node:path")
const {freePort} = require("./free-ports.js")
const {waitUntil} = require("./wait-until.js")

/** Where sshd puts itself in a cage, as root; Debian makes it when it starts the service. */
const separationFolder = "/run/sshd"

/**
 * @param {import("node:test").TestContext} t
 * @param {string} folder an empty one
 * @param {NodeJS.ProcessEnv} env what commands get as PATH
 */
async function startSshServer(t, folder, env) {
  const port = await freePort()
  const file = (/** @type {string} */ name) => path.join(folder, name)
  for (const name of ["host_key", "key"]) execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file(name)])
  fs.copyFileSync(file("key.pub"), file("authorized_keys"))
  if (process.getuid?.() === 0) fs.mkdirSync(separationFolder, {recursive: true})
  fs.writeFileSync(file("sshd_config"), `
ListenAddress 127.0.0.1:${port}
HostKey ${file("host_key")}
AuthorizedKeysFile ${file("authorized_keys")}
PidFile none
UsePAM no
StrictModes no
SetEnv "PATH=${env.PATH}"
`)
  fs.writeFileSync(file("known_hosts"), `[127.0.0.1]:${port} ${fs.readFileSync(file("host_key.pub"), "utf8")}`)
  // sshd runs itself again for each connection, so it wants to know where it is.
  const program = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].find((place) => fs.existsSync(place)) ?? "sshd"
  const log = fs.openSync(file("sshd.log"), "a")
  const server = spawn(program, ["-D", "-e", "-f", file("sshd_config")], {stdio: ["ignore", log, log]})
  fs.closeSync(log)
  const ended = once(server, "exit")
  t.after(async () => {
    server.kill("SIGTERM")
    await ended
  })
  await waitUntil("sshd", () => new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => (socket.destroy(), resolve(true)))
    socket.on("error", () => resolve(false))
  }))
  return {
    port, user: os.userInfo().username, key: file("key"), knownHosts: file("known_hosts"),
    log: () => fs.readFileSync(file("sshd.log"), "utf8")
  }
}

module.exports = {startSshServer}
