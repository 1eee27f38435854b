// Boxes, arrows and words, as an SVG that needs nothing else. Each call adds one line, so that a picture reads as a list of
// what is on it.

export const colours = {
  ink: "#212529", faint: "#868e96", line: "#495057", paper: "#ffffff",
  bridge: "#ffe8cc", bridgeEdge: "#d9480f",
  fresh: "#d3f9d8", freshEdge: "#2b8a3e",
  old: "#e7f5ff", oldEdge: "#1864ab",
  plain: "#f1f3f5", plainEdge: "#868e96",
  bad: "#ffe3e3", badEdge: "#c92a2a"
}

/** @typedef {"start" | "middle" | "end"} Anchor */

/** @typedef {"bridge" | "fresh" | "old" | "plain" | "bad"} Kind */

export class Drawing {
  /** @type {string[]} */
  #parts = []

  /**
   * @param {number} width
   * @param {number} height
   * @param {string} title what it shows, for those who cannot see it
   */
  constructor(width, height, title) {
    this.width = width
    this.height = height
    this.title = title
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {number} width
   * @param {number} height
   * @param {string[]} lines the first one is bold
   * @param {Kind} [kind]
   * @param {{dashed?: boolean}} [style]
   */
  box(x, y, width, height, lines, kind = "plain", {dashed = false} = {}) {
    const dashes = dashed ? ' stroke-dasharray="5 4"' : ""
    this.#parts.push(
      `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="6" fill="${colours[kind]}" ` +
      `stroke="${colours[`${kind}Edge`]}" stroke-width="1.4"${dashes}/>`
    )
    const top = y + height / 2 - (lines.length - 1) * 8 + 4
    lines.forEach((line, index) => {
      this.words(x + width / 2, top + index * 16, line, {anchor: "middle", bold: index === 0, small: index > 0})
    })
  }

  /**
   * @param {number} x
   * @param {number} y of the line on which the letters stand
   * @param {string} text
   * @param {{anchor?: Anchor, bold?: boolean, small?: boolean, faint?: boolean}} [style]
   */
  words(x, y, text, {anchor = "start", bold = false, small = false, faint = false} = {}) {
    const escaped = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")
    this.#parts.push(
      `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="${faint ? colours.faint : colours.ink}"` +
      `${bold ? ' font-weight="bold"' : ""}${small ? ' font-size="11"' : ""}>${escaped}</text>`
    )
  }

  /**
   * A line through points, with a head at its end.
   *
   * @param {[number, number][]} points
   * @param {{label?: string, at?: [number, number], anchor?: Anchor, dashed?: boolean, plain?: boolean}} [style]
   */
  arrow(points, {label, at, anchor = "middle", dashed = false, plain = false} = {}) {
    const path = points.map(([x, y], index) => `${index === 0 ? "M" : "L"}${x} ${y}`).join(" ")
    const head = plain ? "" : ' marker-end="url(#head)"'
    const dashes = dashed ? ' stroke-dasharray="5 4"' : ""
    this.#parts.push(`<path d="${path}" fill="none" stroke="${colours.line}" stroke-width="1.4"${head}${dashes}/>`)
    if (label === undefined) return
    const [[fromX, fromY], [toX, toY]] = points
    const [x, y] = at ?? [(fromX + toX) / 2, (fromY + toY) / 2 - 6]
    this.words(x, y, label, {anchor, small: true})
  }

  toString() {
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${this.width}" height="${this.height}" ` +
      `viewBox="0 0 ${this.width} ${this.height}" font-family="DejaVu Sans, Verdana, sans-serif" font-size="13" role="img">\n` +
      `<title>${this.title}</title>\n` +
      '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">' +
      `<path d="M0 0L10 5L0 10z" fill="${colours.line}"/></marker></defs>\n` +
      `<rect width="100%" height="100%" rx="8" fill="${colours.paper}"/>\n${this.#parts.join("\n")}\n</svg>\n`
  }
}
