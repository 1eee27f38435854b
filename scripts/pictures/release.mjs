// The life of a release. src/release/lifecycle.rs decides it.

import {Drawing} from "./drawing.mjs"

const picture = new Drawing(760, 270, "The states of a release: starting, active, draining, stopped, failed")

picture.box(30, 50, 120, 46, ["starting"], "plain")
picture.box(250, 50, 120, 46, ["active"], "fresh")
picture.box(470, 50, 120, 46, ["draining"], "old")
picture.box(620, 170, 110, 46, ["stopped"], "plain")
picture.box(30, 170, 120, 46, ["failed"], "bad")

picture.arrow([[150, 73], [250, 73]], {label: "healthy: switch"})
picture.arrow([[370, 62], [470, 62]], {label: "the next one"})
picture.arrow([[470, 86], [370, 86]], {label: "rollback", at: [420, 102]})
picture.arrow([[90, 96], [90, 170]], {label: "it fails, or is cancelled: undone", at: [98, 138], anchor: "start"})
picture.arrow([[590, 73], [675, 73], [675, 170]], {label: "nothing is open,", at: [668, 52]})
picture.words(668, 66, "or time is up", {anchor: "middle", small: true})
picture.arrow([[310, 96], [310, 193], [620, 193]], {label: "rollbridge stop", at: [460, 187]})
picture.words(30, 250, "A release that failed was never active. Only one is active at a time.", {small: true, faint: true})

export default picture
