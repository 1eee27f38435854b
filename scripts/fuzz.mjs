// Fuzzes the proxy for longer than the test suite does.
// Usage: npm run fuzz -- [--seconds 600] [--seed 1]. tests/proxy_fuzz tells how it works.

import {parseArgs} from "node:util"
import {runCommand, runScript} from "./run-command.mjs"

const {values} = parseArgs({options: {seconds: {type: "string", default: "600"}, seed: {type: "string"}}})
process.env.ROLLBRIDGE_FUZZ_SECONDS = values.seconds
if (values.seed !== undefined) process.env.ROLLBRIDGE_FUZZ_SEED = values.seed
await runScript(() => runCommand("cargo", ["test", "--test", "proxy_fuzz", "read_as", "--", "--nocapture"]))
