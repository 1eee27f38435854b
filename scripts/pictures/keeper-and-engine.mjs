// The two processes of the daemon: one holds what must not be lost, one does the work and may die.

import {Drawing} from "./drawing.mjs"

const picture = new Drawing(760, 330, "The daemon is a keeper and an engine; the keeper holds listeners, processes and notes")

picture.box(20, 20, 720, 100, [], "plain")
picture.words(36, 44, "keeper", {bold: true})
picture.words(36, 62, "one thread, small, decides nothing", {small: true, faint: true})
picture.box(250, 40, 140, 60, ["listeners", "proxy, control socket"], "bridge")
picture.box(410, 40, 140, 60, ["notes", "what the engine does"], "bridge")
picture.box(570, 40, 150, 60, ["pipes, last lines", "of every process"], "bridge")

picture.box(20, 200, 330, 110, [], "fresh")
picture.words(36, 224, "engine", {bold: true})
picture.words(36, 246, "proxy, deploys, health, restarts,", {small: true})
picture.words(36, 262, "memory, control socket, config", {small: true})
picture.words(36, 290, "dies? the keeper starts the next one", {small: true, faint: true})

picture.box(430, 200, 310, 110, [], "old")
picture.words(446, 224, "managed processes", {bold: true})
picture.words(446, 246, "children of the keeper: they go on", {small: true})
picture.words(446, 262, "while engines change", {small: true})

picture.arrow([[120, 200], [120, 120]], {label: "notes, “start”, “signal”", at: [128, 164], anchor: "start"})
picture.arrow([[300, 120], [300, 200]], {label: "exits, lines, all of it", at: [308, 152], anchor: "start"})
picture.words(308, 168, "after a restart", {small: true})
picture.arrow([[585, 120], [585, 200]], {label: "parent of", at: [593, 164], anchor: "start"})

export default picture
