// Bars of the comparison, as an SVG that needs nothing else.

/**
 * @param {string} title
 * @param {{title: string, unit: string, values: Record<string, number>}[]} groups
 */
export function chart(title, groups) {
  const colours = {direct: "#9aa0a6", rollbridge: "#d9480f", nginx: "#2b8a3e", haproxy: "#1864ab"}
  const width = 720
  const barsFrom = 110
  const widest = width - barsFrom - 110
  let y = 44
  const parts = [`<text x="16" y="26" font-size="16" font-weight="bold">${title}</text>`]
  for (const group of groups) {
    parts.push(`<text x="16" y="${y + 14}" font-weight="bold">${group.title} (${group.unit})</text>`)
    y += 22
    const most = Math.max(...Object.values(group.values))
    for (const [name, value] of Object.entries(group.values)) {
      const length = Math.max(1, widest * value / most)
      const colour = colours[/** @type {keyof typeof colours} */ (name)]
      parts.push(
        `<text x="${barsFrom - 8}" y="${y + 12}" text-anchor="end">${name}</text>`,
        `<rect x="${barsFrom}" y="${y}" width="${length.toFixed(1)}" height="15" fill="${colour}"/>`,
        `<text x="${barsFrom + length + 6}" y="${y + 12}">${value.toFixed(value < 100 ? 1 : 0)}</text>`
      )
      y += 19
    }
    y += 12
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}" ` +
    `font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n${parts.join("\n")}\n</svg>\n`
}
