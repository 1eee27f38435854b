// Fuzzes for longer than the test suite does.
// Usage: npm run fuzz -- [--target proxy] [--seconds 600] [--seed 1]. The proxy is tests/proxy_fuzz; the other targets
// are in tests/fuzz: config, template, control, keeper, engine, handover, state.

import {parseArgs} from "node:util"
import {runCommand, runScript} from "./run-command.mjs"

const {values} = parseArgs({
  options: {
    target: {type: "string", default: "proxy"},
    seconds: {type: "string", default: "600"},
    seed: {type: "string"}
  }
})
process.env.ROLLBRIDGE_FUZZ_SECONDS = values.seconds
if (values.seed !== undefined) process.env.ROLLBRIDGE_FUZZ_SEED = values.seed
const target = values.target === "proxy" ? ["--test", "proxy_fuzz", "read_as"] : ["--test", "fuzz", values.target]
await runScript(() => runCommand("cargo", ["test", ...target, "--", "--nocapture"]))
