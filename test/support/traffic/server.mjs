/**
 * A backend: answers each TCP connection and each UDP datagram with one JSON line that says which address and port were
 * reached, and from where. On a TCP connection it answers once more for every line that it gets. A line "?3000" asks for an
 * answer of that many bytes.
 */

import { createSocket } from "node:dgram";
import { createServer } from "node:net";

const listening = new Map();

/**
 * @param {{ tcp: number[], udp: number[], addresses: string[] }} ports - TCP listens on every address at once. A UDP
 *   answer must come from the address that was asked, which a socket for all addresses does not do: so one for each.
 */
export async function serve({ tcp, udp, addresses }) {
  const wanted = [
    ...tcp.map((port) => [`tcp ${port}`, () => listenTcp(port)]),
    ...udp.flatMap((port) =>
      addresses.map((address) => [`udp ${address} ${port}`, () => listenUdp(address, port)]),
    ),
  ];
  await Promise.all(
    wanted.map(async ([key, listen]) => {
      if (!listening.has(key)) listening.set(key, await listen());
    }),
  );
}

/** @param {{ tcp: number[], udp: number[] }} ports */
export async function stopServing({ tcp, udp }) {
  const ends = [...listening].filter(([key]) => {
    const [protocol, ...rest] = key.split(" ");
    return (protocol === "tcp" ? tcp : udp).includes(Number(rest.at(-1)));
  });
  for (const [key, server] of ends) {
    listening.delete(key);
    server.close();
  }
}

function listenTcp(port) {
  return new Promise((resolve, reject) => {
    const server = createServer({ noDelay: true }, (socket) => {
      const identity = describe(
        socket.localAddress,
        socket.localPort,
        socket.remoteAddress,
        socket.remotePort,
      );
      socket.on("error", () => {});
      let text = "";
      socket.on("data", (bytes) => {
        const lines = (text + bytes).split("\n");
        text = lines.pop();
        for (const line of lines) socket.write(asLongAs(line, identity));
      });
      socket.write(identity);
    });
    server.once("error", reject);
    server.listen({ host: "::", port, backlog: 4096 }, () => resolve(server));
  });
}

function listenUdp(address, port) {
  return new Promise((resolve, reject) => {
    const type = address.includes(":") ? "udp6" : "udp4";
    const socket = createSocket({ type, ipv6Only: type === "udp6", recvBufferSize: 1 << 20 });
    socket.once("error", reject);
    socket.on("message", (bytes, peer) => {
      const identity = describe(address, port, peer.address, peer.port);
      socket.send(asLongAs(bytes.toString(), identity), peer.port, peer.address, () => {});
    });
    socket.bind({ address, port, exclusive: true }, () => {
      socket.on("error", () => {});
      resolve(socket);
    });
  });
}

function describe(address, port, source, sourcePort) {
  return `${JSON.stringify({ address: plain(address), port, source: plain(source), sourcePort })}\n`;
}

/** The answer, with as many blanks as it takes to have the bytes that were asked for. */
function asLongAs(request, identity) {
  const wanted = Number(/^\?(\d+)/.exec(request)?.[1] ?? 0);
  return `${identity.trimEnd().padEnd(wanted - 1)}\n`;
}

/** An IPv4 address in its own form also where the socket is an IPv6 one. */
function plain(address) {
  return address?.replace(/^::ffff:/, "") ?? "";
}
