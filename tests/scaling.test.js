"use strict"

// docs/scaling.md: two hosts with their own network, names, folders and sshd; HAProxy in front; Ansible deploys. Ansible
// takes its time, so this is not part of `npm test`: `npm run test:hosts` runs it.

const assert = require("node:assert/strict")
const {execFileSync} = require("node:child_process")
const fs = require("node:fs")
const path = require("node:path")
const {test} = require("node:test")
const {Network, canMakeHosts, ownWorld, user} = require("./support/hosts.js")
const {root, shownFile} = require("./support/pages.js")
const {requireTool} = require("./support/required-tool.js")
const {temporaryFolder, writeFiles} = require("./support/temporary-folder.js")
const {waitUntil} = require("./support/wait-until.js")
const rollbridge = require("..")

const page = "docs/scaling.md"
const patience = 60_000

const server = `
const {createServer} = require("node:http")
const {hostname} = require("node:os")
createServer((request, response) => response.end("VERSION on " + hostname())).listen(process.env.PORT, "127.0.0.1")
`

/** Sends requests until a file tells it to end, then says what came back. */
const visitors = `
const http = require("node:http")
const {existsSync} = require("node:fs")
const answers = {}
async function visit(agent) {
  while (!existsSync("stop")) {
    const answer = await new Promise((resolve) => {
      http.get({host: "10.77.0.1", agent}, (response) => {
        let body = ""
        response.on("data", (data) => (body += data))
        response.on("end", () => resolve(response.statusCode === 200 ? body : "status " + response.statusCode))
        response.on("error", (error) => resolve(error.message))
      }).on("error", (error) => resolve(error.message))
    })
    answers[answer] = (answers[answer] ?? 0) + 1
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
const agents = Array.from({length: 4}, () => new http.Agent({keepAlive: true, maxSockets: 1}))
Promise.all(agents.map(visit)).then(() => { console.log(JSON.stringify(answers)); process.exit() })
`

test("two hosts: a rolling deploy loses nothing, and one that fails stops at the first host", async (t) => {
  if (process.env.ROLLBRIDGE_TEST_HOSTS !== "1") return t.skip("npm run test:hosts runs it")
  for (const tool of ["ansible-playbook", "haproxy", "ip", "ssh", "ssh-keygen", "sshd"]) if (!requireTool(t, tool)) return
  if (!canMakeHosts()) return t.skip("it needs root, and leave to make network namespaces")

  const folder = temporaryFolder(t)
  const file = (/** @type {string} */ name) => path.join(folder, name)
  const env = {...process.env, PATH: `${path.dirname(process.execPath)}:/usr/sbin:/sbin:/usr/bin:/bin`, HOME: folder}
  const network = new Network(t)
  for (const name of ["host_key", "key"]) execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file(name)])
  fs.mkdirSync("/run/sshd", {recursive: true})

  for (const name of ["app1", "app2"]) {
    network.host(name)
    const home = `${name}/ticket-server`
    writeFiles(folder, {
      [`${home}/package.json`]: "{}",
      [`${name}.sshd`]: `
HostKey ${file("host_key")}
AuthorizedKeysFile ${file("key.pub")}
PidFile none
UsePAM no
StrictModes no
SetEnv "PATH=${env.PATH}"
`
    })
    fs.mkdirSync(file(`${home}/node_modules/.bin`), {recursive: true})
    fs.symlinkSync(path.join(root, "bin", "rollbridge.js"), file(`${home}/node_modules/.bin/rollbridge`))
    // Both hosts have the machine's /tmp, so that the socket of each needs a place of its own.
    const control = 'control: {path: "control.sock"},'
    const config = shownFile(page, "rollbridge.mjs").replace("export default {", `export default {\n  ${control}`)
    fs.writeFileSync(file(`${home}/rollbridge.mjs`), config)
    network.start(t, name, ownWorld(name, folder)(`
cd /srv/ticket-server
node_modules/.bin/rollbridge daemon &
daemon=$!
/usr/sbin/sshd -D -e -f ${file(`${name}.sshd`)} &
sshd=$!
trap 'kill $daemon $sshd; wait $daemon' TERM
wait $daemon
`), {env, log: file(`${name}.log`)})
  }
  writeFiles(folder, {
    "haproxy.cfg": shownFile(page, "haproxy.cfg"),
    "inventory.ini": shownFile(page, "inventory.ini").replace("ansible_user=deploy", `ansible_user=${user}`),
    "deploy.yml": shownFile(page, "deploy.yml"),
    "visitors.cjs": visitors,
    "v1/server.cjs": server.replace("VERSION", "v1"),
    "v2/server.cjs": server.replace("VERSION", "v2"),
    "broken/server.cjs": "process.exit(3)"
  })
  for (const version of ["v1", "v2", "broken"]) {
    writeFiles(folder, {
      [`${version}/scheduler.cjs`]: "setInterval(() => {}, 1000)",
      [`${version}/migrate`]: "#!/bin/sh\nhostname > /srv/migrated\n"
    })
    fs.chmodSync(file(`${version}/migrate`), 0o755)
  }
  network.start(t, "front", `exec haproxy -db -f ${file("haproxy.cfg")}`, {env, log: file("haproxy.log")})

  const ansible = {
    ...env,
    ANSIBLE_HOST_KEY_CHECKING: "False", ANSIBLE_NOCOLOR: "1", ANSIBLE_LOCAL_TEMP: file("ansible"), ANSIBLE_HOME: file("ansible"),
    ANSIBLE_PRIVATE_KEY_FILE: file("key"), ANSIBLE_PIPELINING: "True",
    // One connection for each host, which goes when its sshd does.
    ANSIBLE_SSH_ARGS: "-o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile=/dev/null",
    ANSIBLE_SSH_CONTROL_PATH_DIR: file("connections"),
    ANSIBLE_PYTHON_INTERPRETER: "/usr/bin/python3"
  }
  const front = (/** @type {string[]} */ ...command) => network.run("front", command, {env: ansible, cwd: folder})
  const deploy = (/** @type {string} */ version) => front(
    "ansible-playbook", "--inventory", "inventory.ini", "deploy.yml", "--extra-vars", `build=${file(version)} release=${version}`
  )
  const config = (/** @type {string} */ name) => file(`${name}/ticket-server/rollbridge.mjs`)
  const mustPass = async (/** @type {Promise<{status: number | null, output: string}>} */ running) => {
    const {status, output} = await running
    assert.equal(status, 0, output)
    return output
  }
  const ask = async () => (await front(process.execPath, "-e", `
    fetch("http://10.77.0.1/").then(async (answer) => console.log(answer.status, await answer.text()), () => console.log("nothing"))
  `)).output.trim()

  const log = (/** @type {string} */ name) => fs.readFileSync(file(`${name}.log`), "utf8")
  const listens = (/** @type {string} */ name) => log(name).includes("control socket listening")
  await waitUntil("both hosts", () => listens("app1") && listens("app2"), patience)
  await mustPass(deploy("v1"))
  await waitUntil("the load balancer", async () => /^200 v1/.test(await ask()), patience)
  assert.equal(fs.readFileSync(file("app1/migrated"), "utf8").trim(), "app1")
  assert.equal(fs.existsSync(file("app2/migrated")), false)
  const both = await Promise.all(["app1", "app2"].map((name) => rollbridge.status({config: config(name)})))
  assert.deepEqual(both.map(({singletons}) => singletons.length), [1, 0])

  const visiting = front(process.execPath, "visitors.cjs")
  await mustPass(deploy("v2"))
  const failed = await deploy("broken")
  assert.notEqual(failed.status, 0)
  assert.match(failed.output, /web exited with code 3/)
  assert.doesNotMatch(failed.output, /app2/)

  assert.match(failed.output, /v2 keeps serving/)

  await mustPass(front(
    "ansible", "app", "--inventory", "inventory.ini", "--module-name", "command",
    "--args", "chdir=/srv/ticket-server node_modules/.bin/rollbridge rollback --release-id v1"
  ))
  assert.match(await ask(), /^200 v1/)

  // One host leaves without a word: the other one gets its requests.
  await rollbridge.stop({config: config("app1")})
  await waitUntil("the check to notice", () => /app1 is DOWN/.test(log("haproxy")), patience)
  assert.match(await ask(), /^200 v1 on app2/)
  fs.writeFileSync(file("stop"), "")
  const {output} = await visiting
  const answers = JSON.parse(output)
  const strange = Object.keys(answers).filter((answer) => !/^v[12] on app[12]$/.test(answer))
  assert.deepEqual(strange, [], output)
  assert.equal(Object.keys(answers).length, 4, output)
})
