// Who speaks to whom, and beside it what a deploy does over time.

import {Drawing} from "./drawing.mjs"

const picture = new Drawing(920, 300, "nginx, Rollbridge and two releases; beside them the time line of a deploy")

picture.box(20, 118, 86, 44, ["visitors"])
picture.box(140, 118, 86, 44, ["nginx", "or nothing"])
picture.box(262, 96, 104, 88, ["Rollbridge", "one port,", "always there"], "bridge")
picture.box(410, 40, 120, 64, ["release v2", "active"], "fresh")
picture.box(410, 176, 120, 64, ["release v1", "drains"], "old")
picture.arrow([[106, 140], [140, 140]])
picture.arrow([[226, 140], [262, 140]])
picture.arrow([[366, 120], [410, 80]], {label: "new", at: [380, 92]})
picture.arrow([[366, 160], [410, 200]], {label: "open", at: [378, 200], dashed: true})

const left = 570
const lane = (/** @type {number} */ y, /** @type {[number, string[], import("./drawing.mjs").Kind, boolean?][]} */ parts) => {
  let x = left
  for (const [width, lines, kind, dashed] of parts) {
    if (lines.length > 0) picture.box(x, y, width - 4, 40, lines, kind, {dashed})
    x += width
  }
}
picture.words(left, 40, "a deploy of v2", {bold: true})
lane(60, [[126, [], "plain"], [56, ["start"], "plain"], [56, ["check"], "plain"], [88, ["serves"], "fresh"]])
lane(150, [[238, ["v1 serves"], "old"], [60, ["drains"], "old", true]])
picture.words(left, 84, "v2", {bold: true})
picture.arrow([[left + 236, 50], [left + 236, 212]], {plain: true, dashed: true})
picture.words(left + 236, 228, "switch", {anchor: "middle", small: true})
picture.words(left + 126, 118, "rollbridge deploy", {small: true, faint: true})
picture.arrow([[left + 126, 124], [left + 236, 124]])
picture.arrow([[left, 250], [left + 330, 250]])
picture.words(left + 330, 268, "time", {anchor: "end", small: true, faint: true})
picture.words(20, 282, "New requests go to v2 from one moment on. What v1 has accepted, it finishes.", {small: true})

export default picture
