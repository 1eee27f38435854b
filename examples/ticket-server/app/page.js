// The page a visitor sees; heading, colour and wording come from the release.

/**
 * @param {object} content
 * @param {import("./run.js").Release} content.release
 * @param {{releaseId: string | null, pid: number}} content.self
 * @param {{tick: number, version: string} | null} content.lastTick
 * @param {import("./tickets.js").Ticket[]} content.tickets
 */
export function page({release, self, lastTick, tickets}) {
  const rows = tickets.map((ticket) => {
    const state = ticket.handledBy ? `handled by the ${ticket.handledBy}` : "open"
    return `<li>#${ticket.id} ${escaped(release.describe(ticket))} <small>${escaped(state)}</small></li>`
  })

  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${release.heading}</title>
<style>
  body {font-family: sans-serif; max-width: 40rem; margin: 2rem auto}
  h1 {background: ${release.colour}; color: white; padding: 1rem}
</style>
<h1>${release.heading}</h1>
<p>Version ${release.version}, release ${escaped(self.releaseId ?? "none")}, process ${self.pid}</p>
<p>${lastTick ? `Tick ${lastTick.tick} of the scheduler of version ${escaped(lastTick.version)}` : "No tick yet"}</p>
<form method="post" action="/tickets"><input name="title" placeholder="What is broken?" required> <button>Report</button></form>
<ul>${rows.join("\n")}</ul>
</html>
`
}

/** @param {string} text */
function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")
}
