"use strict"

// What makes a release, tried in a copy of the checkout with a remote of its own; and the workflow it starts.

const assert = require("node:assert/strict")
const {execFile, execFileSync, spawnSync} = require("node:child_process")
const {once} = require("node:events")
const fs = require("node:fs")
const {createServer} = require("node:http")
const path = require("node:path")
const {test} = require("node:test")
const {promisify} = require("node:util")
const {targets} = require("../lib/native.js")
const {version} = require("../package.json")
const {temporaryFolder, writeFiles} = require("./support/temporary-folder.js")

const root = path.join(__dirname, "..")

/**
 * A checkout of its own, as far as releases go: clean, on the branch main, level with its remote.
 *
 * @param {import("node:test").TestContext} t
 */
function checkout(t) {
  const folder = temporaryFolder(t)
  const work = path.join(folder, "work")
  const files = ["package.json", "package-lock.json", "Cargo.toml", "Cargo.lock", "npm", "scripts", "lib"]
  for (const name of files) fs.cpSync(path.join(root, name), path.join(work, name), {recursive: true})
  writeFiles(work, {"CHANGELOG.md": "# Changelog\n\n## Unreleased\n\n* Something new.\n"})
  const author = {GIT_AUTHOR_NAME: "A", GIT_AUTHOR_EMAIL: "a@example.com"}
  const committer = {GIT_COMMITTER_NAME: "A", GIT_COMMITTER_EMAIL: "a@example.com"}
  const env = {...process.env, ...author, ...committer, GIT_CONFIG_GLOBAL: "/dev/null"}
  const git = (/** @type {string[]} */ ...args) => execFileSync("git", args, {cwd: work, env, encoding: "utf8"}).trim()
  execFileSync("git", ["init", "--quiet", "--bare", "--initial-branch=main", path.join(folder, "remote.git")], {env})
  git("init", "--quiet", "--initial-branch=main")
  git("add", "--all")
  git("commit", "--quiet", "--message", "before")
  git("remote", "add", "origin", "../remote.git")
  git("push", "--quiet", "origin", "main")
  const release = (/** @type {string[]} */ ...args) => {
    const command = ["run", "--silent", "release:patch", "--", ...args]
    const {status, stdout, stderr} = spawnSync("npm", command, {cwd: work, env, encoding: "utf8"})
    return {status, stdout, stderr}
  }
  const read = (/** @type {string} */ name) => fs.readFileSync(path.join(work, name), "utf8")
  return {folder, work, git, release, read}
}

/** @param {string} of */
const next = (of) => of.replace(/\d+$/, (patch) => String(Number(patch) + 1))

test("a dry run of a release says everything and changes nothing", (t) => {
  const {git, release} = checkout(t)
  const {status, stdout, stderr} = release("--dry-run")
  assert.equal(status, 0, stderr)
  for (const file of ["package.json", "package-lock.json", "Cargo.toml", "Cargo.lock", "npm/darwin-arm64/package.json"]) {
    assert.ok(stdout.includes(`would write ${file}: ${version} becomes ${next(version)}`), stdout)
  }
  assert.match(stdout, new RegExp(`would run git push .* origin main v${next(version)}`))
  assert.match(stdout, /dry run: nothing was changed\n$/)
  assert.equal(git("status", "--porcelain"), "")
  assert.equal(git("ls-remote", "--tags", "origin"), "")
})

test("a release raises the version everywhere, in one commit with a tag, and pushes both", (t) => {
  const {git, release, read} = checkout(t)
  const {status, stderr} = release()
  assert.equal(status, 0, stderr)
  const after = next(version)
  const files = ["package.json", ...targets.map((/** @type {string} */ target) => `npm/${target}/package.json`)]
  for (const file of files) assert.equal(JSON.parse(read(file)).version, after)
  const lock = JSON.parse(read("package-lock.json"))
  assert.deepEqual([lock.version, lock.packages[""].version], [after, after])
  assert.ok(read("Cargo.toml").includes(`\nversion = "${after}"\n`))
  assert.ok(read("Cargo.lock").includes(`name = "rollbridge"\nversion = "${after}"\n`))
  assert.match(read("CHANGELOG.md"), new RegExp(`## Unreleased\n\n## ${after} \\(\\d{4}-\\d\\d-\\d\\d\\)\n\n\\* Something new`))

  assert.equal(git("status", "--porcelain"), "")
  assert.equal(git("log", "-1", "--format=%s"), `Release ${after}`)
  const [head, tagged] = [git("rev-parse", "HEAD"), git("rev-parse", `v${after}^{commit}`)]
  assert.equal(tagged, head)
  assert.ok(git("ls-remote", "origin", "refs/heads/main").startsWith(head))
  assert.ok(git("ls-remote", "--tags", "origin").includes(`refs/tags/v${after}`))
  // Lines other than those of the version are as they were.
  const changed = git("show", "--numstat", "--format=", "HEAD").split("\n").map((line) => line.split("\t"))
  for (const [added, removed, file] of changed.filter(([, , name]) => name !== "CHANGELOG.md")) {
    const count = file === "package-lock.json" ? "2" : "1"
    assert.deepEqual([file, added, removed], [file, count, count])
  }
})

test("a release is refused with everything that stands in its way", (t) => {
  const {git, release, work} = checkout(t)
  git("switch", "--quiet", "--create", "feature")
  writeFiles(work, {"new.txt": "x"})
  git("add", "--all")
  git("commit", "--quiet", "--message", "more")
  writeFiles(work, {"new.txt": "y"})
  git("tag", `v${next(version)}`)
  const {status, stderr} = release()
  assert.equal(status, 1)
  for (const expected of [/the branch is not main/, /there are changes/, /not where origin\/main is/, /the tag v\S+ exists/]) {
    assert.match(stderr, expected)
  }
  git("checkout", "--quiet", "--force", "main")
  writeFiles(work, {"CHANGELOG.md": "# Changelog\n\n## Unreleased\n\n## 0.0.1\n\n* Old.\n"})
  assert.match(release("--dry-run").stderr, /^error: CHANGELOG\.md says nothing under Unreleased[^\n]*\n$/)
})

test("the parts of a version", async () => {
  const {nextVersion} = await import("../scripts/version.mjs")
  assert.deepEqual(["patch", "minor", "major"].map((part) => nextVersion("1.2.3", part)), ["1.2.4", "1.3.0", "2.0.0"])
  assert.throws(() => nextVersion("1.2.3", undefined), /patch, minor or major/)
  assert.throws(() => nextVersion("1.2.3-rc.1", "patch"), /no plain version/)
})

test("platform packages are published before the root package, and nothing twice", (t) => {
  const folder = temporaryFolder(t)
  const names = [...targets.map((/** @type {string} */ target) => `rollbridge-${target}`), "rollbridge"]
  // Stands in for npm: the first package is there already, the others are recorded.
  const npm = `#!/bin/sh
case "$1 $2" in
  "view ${names[0]}@"*) echo ${version} ;;
  view*) exit 1 ;;
  *) echo "$@" >> '${folder}/calls' ;;
esac`
  fs.mkdirSync(path.join(folder, "bin"))
  fs.writeFileSync(path.join(folder, "bin", "npm"), `${npm}\n`, {mode: 0o755})
  const env = {...process.env, PATH: `${path.join(folder, "bin")}${path.delimiter}${process.env.PATH}`}
  const publish = (/** @type {string[]} */ ...args) =>
    spawnSync(process.execPath, [path.join(root, "scripts", "publish.mjs"), folder, ...args], {env, encoding: "utf8"})

  assert.match(publish().stderr, /nothing is published, because .*rollbridge-linux-x64-gnu/)
  for (const name of names) writeFiles(folder, {[`${name}-${version}.tgz`]: ""})
  assert.match(publish("--tag", "v0.0.0").stderr, /the tag v0\.0\.0 is not that of package\.json/)
  assert.equal(publish("--tag", `v${version}`).status, 0)
  const calls = fs.readFileSync(path.join(folder, "calls"), "utf8").trimEnd().split("\n")
  const expected = names.slice(1).map((name) => {
    return `publish ${path.join(folder, `${name}-${version}.tgz`)} --access public --provenance`
  })
  assert.deepEqual(calls, expected)
})

test("a dry run of packing and publishing, with the tools of the workflow and npm itself", {timeout: 300_000}, async (t) => {
  const folder = temporaryFolder(t)
  // Built elsewhere, as artifacts arrive: without the executable bit.
  const natives = path.join(folder, "natives")
  for (const target of targets) {
    writeFiles(path.join(natives, target), {rollbridge: `binary of ${target}`, [`rollbridge.${target}.node`]: "addon"})
  }
  // A registry that has none of it, and takes nothing.
  /** @type {string[]} */
  const asked = []
  const registry = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    response.writeHead(404, {"content-type": "application/json"}).end("{}")
  }).listen(0, "127.0.0.1")
  await once(registry, "listening")
  t.after(() => registry.close())
  const {port} = /** @type {import("node:net").AddressInfo} */ (registry.address())
  const env = {...process.env, npm_config_registry: `http://127.0.0.1:${port}/`, npm_config_userconfig: path.join(folder, "npmrc")}
  const script = (/** @type {string} */ name, /** @type {string[]} */ ...args) =>
    promisify(execFile)(process.execPath, [path.join(root, "scripts", name), ...args], {env, encoding: "utf8"})

  const out = path.join(folder, "packages")
  await script("pack.mjs", "--natives", natives, "--out", out)
  const names = [...targets.map((/** @type {string} */ target) => `rollbridge-${target}`), "rollbridge"]
  const tarballs = fs.readdirSync(out).filter((name) => name.endsWith(".tgz"))
  assert.deepEqual(tarballs.sort(), names.map((name) => `${name}-${version}.tgz`).sort())
  for (const target of targets) {
    assert.deepEqual(packedFiles(path.join(out, `rollbridge-${target}-${version}.tgz`)), {
      "LICENSE": "-rw-r--r--",
      "README.md": "-rw-r--r--",
      "package.json": "-rw-r--r--",
      "rollbridge": "-rwxr-xr-x",
      [`rollbridge.${target}.node`]: "-rw-r--r--"
    })
  }
  const ofRoot = packedFiles(path.join(out, `rollbridge-${version}.tgz`))
  const executable = Object.keys(ofRoot).filter((name) => ofRoot[name].includes("x"))
  assert.deepEqual(executable, ["bin/rollbridge.js"])
  const kinds = new Set(Object.keys(ofRoot).map((name) => name.replace(/^(bin|lib|schema)\/.+/, "$1/")))
  const entry = ["config-loader.mjs", "index.d.ts", "index.js"]
  assert.deepEqual([...kinds].sort(), ["LICENSE", "README.md", "bin/", ...entry, "lib/", "package.json", "schema/"])

  const {stdout} = await script("publish.mjs", out, "--tag", `v${version}`, "--dry-run")
  const published = [...stdout.matchAll(/^\+ (\S+)@(\S+)$/gm)].map(([, name, number]) => [name, number])
  assert.deepEqual(published, names.map((name) => [name, version]))
  assert.deepEqual(asked.filter((request) => !request.startsWith("GET ")), [])
})

/** The files in a tarball with their modes, as tar shows them. @param {string} tarball @returns {Record<string, string>} */
function packedFiles(tarball) {
  const lines = execFileSync("tar", ["-tvzf", tarball], {encoding: "utf8"}).trimEnd().split("\n")
  return Object.fromEntries(lines.map((line) => [line.split("package/")[1], line.split(" ")[0]]))
}

test("the workflow builds every platform that has a package", () => {
  const workflow = fs.readFileSync(path.join(root, ".github", "workflows", "release.yml"), "utf8")
  const built = [...workflow.matchAll(/\{target: ([\w-]+)/g)].map(([, target]) => target)
  assert.deepEqual(built.sort(), [...targets].sort())
  for (const [, script] of workflow.matchAll(/(scripts\/[\w.-]+)/g)) assert.ok(fs.existsSync(path.join(root, script)), script)
})
