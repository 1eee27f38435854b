// JSON objects over a socket, one a line.

/**
 * Calls `receive` for each object. A line that is not JSON ends the connection.
 *
 * @param {import("node:net").Socket} socket
 * @param {(content: any) => void} receive
 */
export function onJsonLine(socket, receive) {
  let unfinished = ""
  socket.setEncoding("utf8")
  socket.on("data", (text) => {
    const lines = `${unfinished}${text}`.split("\n")
    unfinished = lines.pop() ?? ""
    try {
      for (const line of lines) receive(JSON.parse(line))
    } catch (error) {
      socket.destroy(error instanceof Error ? error : undefined)
    }
  })
}

/**
 * @param {import("node:net").Socket} socket
 * @param {object} content
 */
export function sendJsonLine(socket, content) {
  socket.write(`${JSON.stringify(content)}\n`)
}
