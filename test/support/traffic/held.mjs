/** Connections (and UDP flows) that stay open, to see where an established one goes. */

import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { answer, failureOf, request } from "./attempt.mjs";

const held = new Map();
let begun = 0;

/** Opens one and returns its number with the backend's first answer. */
export async function open({ to, port, protocol = "tcp", from, fromPort, timeout = 3_000, bytes }) {
  const hold = protocol === "udp" ? holdUdp : holdTcp;
  const line = hold(to, port, from, fromPort, request(bytes));
  begun += 1;
  const number = begun;
  held.set(number, line);
  const first = await next(line, timeout, protocol === "udp");
  return { number, first };
}

/** Sends one line (a datagram) and returns the answer, or what went wrong. */
export function ask({ number, timeout = 3_000 }) {
  return next(held.get(number), timeout, true);
}

export function hangUp({ number }) {
  held.get(number)?.close();
  held.delete(number);
}

function holdTcp(host, port, localAddress, localPort, question) {
  const socket = connect({ host, port, localAddress, localPort, noDelay: true });
  const line = holder(
    () => socket.write(question),
    // A reset waits for a connection that is not there yet, and so would go on dialling.
    () => (socket.connecting ? socket.destroy() : socket.resetAndDestroy()),
  );
  let text = "";
  socket.on("data", (bytes) => {
    text += bytes;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      line.arrive(text.slice(0, end + 1));
      text = text.slice(end + 1);
    }
  });
  socket.on("error", (error) => line.fail(failureOf(error)));
  socket.on("end", () => line.fail("closed"));
  return line;
}

function holdUdp(to, port, address, fromPort, question) {
  const socket = createSocket(to.includes(":") ? "udp6" : "udp4");
  const line = holder(
    () => socket.send(question, port, to),
    () => socket.close(),
  );
  socket.on("message", (bytes) => line.arrive(bytes.toString()));
  socket.on("error", (error) => line.fail(failureOf(error)));
  socket.bind({ address, port: fromPort ?? 0, exclusive: true });
  return line;
}

/** Answers that came before they were waited for are kept; a failure stays. */
function holder(send, close) {
  const arrived = [];
  const waiting = [];
  let failure;
  return {
    send,
    close,
    arrive(text) {
      if (waiting.length > 0) waiting.shift()({ text });
      else arrived.push({ text });
    },
    fail(reason) {
      failure ??= { failure: reason };
      for (const wake of waiting.splice(0)) wake(failure);
    },
    wait(timeout) {
      if (arrived.length > 0) return arrived.shift();
      if (failure) return failure;
      return new Promise((resolve) => {
        const wake = (outcome) => {
          clearTimeout(timer);
          resolve(outcome);
        };
        const timer = setTimeout(() => {
          waiting.splice(waiting.indexOf(wake), 1);
          resolve({ failure: "timeout" });
        }, timeout);
        waiting.push(wake);
      });
    },
  };
}

async function next(line, timeout, speakFirst) {
  if (!line) throw new Error("no such connection: it was closed");
  const began = performance.now();
  const outcome = line.wait(timeout);
  if (speakFirst) line.send();
  const { text, failure } = await outcome;
  return failure === undefined ? answer(text, began) : { failure };
}
