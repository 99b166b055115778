/** Datagrams without an answer: one flow, from one source port. */

import { createSocket } from "node:dgram";

/** Sends `count` datagrams from one socket, `every` milliseconds apart. */
export async function sendDatagrams({ to, port, from, fromPort, count = 1, every = 0, text = "?\n" }) {
  const socket = createSocket(to.includes(":") ? "udp6" : "udp4");
  await new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.bind({ address: from, port: fromPort ?? 0, exclusive: true }, resolve);
  });
  for (let n = 0; n < count; n++) {
    if (n > 0 && every > 0) await new Promise((resolve) => setTimeout(resolve, every));
    await new Promise((resolve) => socket.send(text, port, to, resolve));
  }
  socket.close();
}
