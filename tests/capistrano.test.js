"use strict"

// What docs/deploy-recipes.md says about Capistrano, with the real one, over real ssh.

const assert = require("node:assert/strict")
const fs = require("node:fs")
const path = require("node:path")
const {test} = require("node:test")
const {freePort} = require("./support/free-ports.js")
const {Trial, quietRange} = require("./support/page-trial.js")
const {shownFile} = require("./support/pages.js")
const {requireTool} = require("./support/required-tool.js")
const {startSshServer} = require("./support/ssh-server.js")
const {temporaryFolder, writeFiles} = require("./support/temporary-folder.js")

const page = "docs/deploy-recipes.md"
const server = `
const {createServer} = require("node:http")
createServer((request, response) => response.end("VERSION")).listen(process.env.PORT, "127.0.0.1")
`

test("Capistrano deploys, leaves the link alone when a deploy fails, and rolls back", async (t) => {
  for (const tool of ["cap", "git", "sshd", "ssh-keygen"]) if (!requireTool(t, tool)) return
  const trial = new Trial({folder: temporaryFolder(t), port: await freePort(), range: await quietRange(), hasTool: () => true})
  t.after(() => trial.end())
  const folder = trial.folder
  const ssh = await startSshServer(t, temporaryFolder(t), trial.env)

  for (const file of ["rollbridge.mjs", "lib/capistrano/tasks/rollbridge.rake", "config/deploy.rb"]) {
    const shown = trial.adapted(shownFile(page, file))
    await trial.write(file, shown.replace("git@example.com:ticket-server.git", `${folder}/repository`))
  }
  writeFiles(folder, {
    "Capfile": `
require "capistrano/setup"
require "capistrano/deploy"
require "capistrano/scm/git"
install_plugin Capistrano::SCM::Git
Dir.glob("lib/capistrano/tasks/*.rake").each { |task| import task }
`,
    "config/deploy/production.rb": `
server "127.0.0.1", user: "${ssh.user}", roles: %w[app], ssh_options: {
  port: ${ssh.port}, keys: ["${ssh.key}"], keys_only: true, user_known_hosts_file: "${ssh.knownHosts}", config: false
}
`
  })
  const commit = async (/** @type {string} */ text) => {
    writeFiles(folder, {"repository/server.cjs": text})
    const git = "git -c user.name=you -c user.email=you@example.com"
    const {status, stderr} = await trial.run(["sh", "-ec", `cd repository; git init -q; git add .; ${git} commit -qm change`])
    assert.equal(status, 0, stderr)
  }
  const cap = (/** @type {string[]} */ ...args) => trial.run(["cap", "production", ...args])
  const answer = async () => (await fetch(`http://127.0.0.1:${trial.port}/`)).text()
  const current = () => fs.readlinkSync(path.join(folder, "current"))
  const mustPass = async (/** @type {string[]} */ ...tasks) => {
    const {status, stdout, stderr} = await cap(...tasks)
    assert.equal(status, 0, `${stdout}${stderr}${ssh.log()}`)
    return stdout
  }
  await trial.start("npx rollbridge daemon")

  await commit(server.replace("VERSION", "one"))
  await mustPass("deploy")
  assert.equal(await answer(), "one")
  const first = current()

  await commit(server.replace("VERSION", "two"))
  assert.match(await mustPass("deploy", "rollbridge:ps"), /web +running/)
  assert.equal(await answer(), "two")
  const second = current()

  await commit("console.error('no database'); process.exit(3)")
  const failed = await cap("deploy")
  assert.notEqual(failed.status, 0)
  assert.match(failed.stdout + failed.stderr, /no database/)
  assert.deepEqual([await answer(), current()], ["two", second])

  trial.env.ROLLBACK_RELEASE = path.basename(first)
  await mustPass("deploy:rollback")
  assert.deepEqual([await answer(), current()], ["one", first])
})
