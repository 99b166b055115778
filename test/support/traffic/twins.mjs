/**
 * Two questions at the same instant from one address and port, as of a resolver that asks for A and AAAA. Two threads send
 * them, so that they meet in the gateway: neither has an entry in connection tracking yet when the other one comes.
 */

import { createSocket } from "node:dgram";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

/** @returns for each of the pairs the addresses that answered */
export async function askTwice({ to, port, from, firstPort, pairs, timeout = 1_000 }) {
  const arrived = new Int32Array(new SharedArrayBuffer(4 * pairs));
  const data = { to, port, from, firstPort, pairs, timeout, arrived };
  const halves = [1, 2].map(() => new Worker(import.meta.filename, { workerData: data }));
  const answers = await Promise.all(
    halves.map(
      (half) =>
        new Promise((resolve, reject) => {
          half.once("message", resolve);
          half.once("error", reject);
        }),
    ),
  );
  return answers[0].map((addresses, pair) => [...addresses, ...answers[1][pair]]);
}

async function half({ to, port, from, firstPort, pairs, timeout, arrived }) {
  const answers = Array.from({ length: pairs }, () => []);
  const sockets = await Promise.all(
    answers.map(async (own, pair) => {
      // Both threads have the port; an answer comes to one of them.
      const socket = createSocket({ type: "udp4", reuseAddr: true });
      socket.on("message", (bytes) => own.push(JSON.parse(bytes.toString()).address));
      socket.on("error", () => {});
      await new Promise((resolve) => socket.bind({ address: from, port: firstPort + pair }, resolve));
      await new Promise((resolve) => socket.connect(port, to, resolve));
      return socket;
    }),
  );
  for (const [pair, socket] of sockets.entries()) {
    // Spinning, since a thread that has to be woken comes too late.
    for (Atomics.add(arrived, pair, 1); Atomics.load(arrived, pair) < 2; );
    socket.send("?\n", () => {});
  }
  await new Promise((resolve) => setTimeout(resolve, timeout));
  for (const socket of sockets) socket.close();
  parentPort.postMessage(answers);
}

if (!isMainThread) await half(workerData);
