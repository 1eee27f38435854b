// What a run has shown, for people.

/** @param {Awaited<ReturnType<typeof import("./run.mjs").soak>>} result */
export function report({seed, seconds, findings, reasons, load, tunnels, rude, faults, followers, before, after, folder}) {
  const count = (/** @type {string} */ outcome) => load.broken.filter((visit) => visit.outcome === outcome).length
  const answered = [...load.answered].map(([kind, times]) => `${kind} ${times}`).join(", ")
  const outcomes = ["reset", "cut", "status 502", "status 503", "refused"].map((outcome) => `${outcome} ${count(outcome)}`)
  return [
    "",
    `${seconds} s, seed ${seed}`,
    `${load.total} requests (${Math.round(load.total / seconds)} a second), answered: ${answered}`,
    `  broken: ${outcomes.join(", ")}`,
    `  ${load.recorded.size} orders and uploads were answered and are in the application's ledger`,
    `  the slowest answer took ${Math.round(load.slowest.ms)} ms (${load.slowest.kind})`,
    `${tunnels.ended.length} WebSockets and event streams, ${tunnels.messages} numbered messages`,
    `${rude.slow} requests of slow clients answered, ${rude.vanished} clients vanished`,
    `${followers.events.length} events followed, ${followers.lines} lines of output looked at`,
    `${faults.count} faults, one in ${(seconds / faults.count).toFixed(1)} s`,
    `  the slowest was over after ${Math.round(faults.slowest.ms)} ms (${faults.slowest.name})`,
    ...[...faults.done].sort().map(([name, times]) => `  ${String(times).padStart(5)}  ${name}`),
    "what broke, and why it may:",
    ...[...reasons].sort().map(([reason, times]) => `  ${String(times).padStart(5)}  ${reason}`),
    `keeper: ${JSON.stringify(before.keeper)} before, ${JSON.stringify(after.keeper)} after`,
    `engine: ${JSON.stringify(before.engine)} before, ${JSON.stringify(after.engine)} after`,
    findings.length === 0 ? "nothing lost, nothing doubled, nothing out of order" : `${findings.length} FINDINGS (${folder})`,
    ...findings.map((finding) => `  ${finding}`)
  ].join("\n")
}
