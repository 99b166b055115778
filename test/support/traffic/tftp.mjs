/** As much of TFTP (RFC 1350) as it takes to see that the answer comes from another port than the one that was asked. */

import { createSocket } from "node:dgram";

const READ = Buffer.from("\0\x01file\0octet\0");

/** Answers each request from a new port of the address that was asked. */
export async function serveTftp({ addresses, port = 69 }) {
  await Promise.all(
    addresses.map(
      (address) =>
        new Promise((resolve, reject) => {
          const socket = createSocket(kind(address));
          socket.once("error", reject);
          socket.on("message", (_, peer) => answer(address, peer));
          socket.bind({ address, port, exclusive: true }, () => resolve());
        }),
    ),
  );
}

function answer(address, peer) {
  const socket = createSocket(kind(address));
  socket.on("error", () => {});
  socket.bind({ address, port: 0 }, () => {
    const data = Buffer.from(`\0\x03\0\x01${JSON.stringify({ address })}`);
    socket.send(data, peer.port, peer.address, () => socket.close());
  });
}

/** @returns who served it (`address`) and from where the answer came (`peer`, `peerPort`), or `failure` */
export function fetchTftp({ to, port = 69, from, timeout = 1_000 }) {
  return new Promise((resolve) => {
    const socket = createSocket(kind(to));
    const finish = (outcome) => {
      clearTimeout(timer);
      socket.close();
      resolve(outcome);
    };
    const timer = setTimeout(() => finish({ failure: "timeout" }), timeout);
    socket.on("message", (bytes, peer) =>
      finish({ ...JSON.parse(bytes.subarray(4)), peer: peer.address, peerPort: peer.port }),
    );
    socket.bind({ address: from, port: 0, exclusive: true }, () => socket.send(READ, port, to));
  });
}

function kind(address) {
  return address.includes(":") ? "udp6" : "udp4";
}
