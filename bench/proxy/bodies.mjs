// Large bodies whose bytes and checksums both ends know.

import {createHash} from "node:crypto"

/** Repeated; of an odd length, so that no buffer's size divides it. */
const block = Buffer.alloc(262_147)
for (let at = 0; at < block.length; at += 1) block[at] = (at * 2_654_435_761) >>> 24

/** @param {number} bytes */
export function* pieces(bytes) {
  for (let left = bytes; left > 0; left -= block.length) yield left < block.length ? block.subarray(0, left) : block
}

/** @param {number} bytes */
export function checksum(bytes) {
  const hash = createHash("sha256")
  for (const piece of pieces(bytes)) hash.update(piece)
  return hash.digest("hex")
}
