// The life of a managed process. src/process/lifecycle.rs decides it.

import {Drawing} from "./drawing.mjs"

const picture = new Drawing(790, 330, "The states of a process: stopped, starting, running, stopping, backoff, failed")

picture.box(30, 50, 110, 46, ["stopped"], "plain")
picture.box(240, 50, 110, 46, ["starting"], "plain")
picture.box(470, 50, 110, 46, ["running"], "fresh")
picture.box(470, 160, 110, 46, ["stopping"], "old")
picture.box(240, 160, 110, 46, ["backoff"], "bridge")
picture.box(240, 260, 110, 46, ["failed"], "bad")

picture.arrow([[140, 73], [240, 73]], {label: "start"})
picture.arrow([[350, 73], [470, 73]], {label: "spawned"})
picture.arrow([[525, 96], [525, 160]], {label: "stop, restart, too much memory", at: [533, 132], anchor: "start"})
picture.arrow([[470, 90], [350, 168]], {label: "it exits by itself", at: [398, 120], anchor: "end"})
picture.arrow([[262, 160], [262, 96]], {label: "after the pause", at: [254, 132], anchor: "end"})
picture.arrow([[295, 206], [295, 260]], {label: "maxRestarts used up", at: [303, 237], anchor: "start"})
picture.arrow([[525, 206], [525, 226], [85, 226], [85, 96]], {label: "nothing of it is left", at: [178, 220]})
picture.arrow([[240, 283], [50, 283], [50, 96]], {label: "stop", at: [140, 277]})
picture.words(596, 166, "quietCommand, drainCommand,", {small: true, faint: true})
picture.words(596, 182, "stopCommand or stopSignal,", {small: true, faint: true})
picture.words(596, 198, "SIGKILL", {small: true, faint: true})

export default picture
