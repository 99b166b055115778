/** One connection, or one datagram and its answer. Never rejects: what went wrong is the result's `failure`. */

import { createSocket } from "node:dgram";
import { connect } from "node:net";

/** A lost SYN is sent again after one second and after another two. */
const TIMEOUT = 3_000;

export function attempt(target) {
  return target.protocol === "udp" ? attemptUdp(target) : attemptTcp(target);
}

function attemptTcp({ to, port, from, fromPort, timeout = TIMEOUT }) {
  return new Promise((resolve) => {
    const began = performance.now();
    const socket = connect({ host: to, port, localAddress: from, localPort: fromPort, noDelay: true });
    let text = "";
    const finish = (outcome) => {
      clearTimeout(timer);
      // A reset leaves no TIME_WAIT behind, which would use up the source ports.
      if (socket.connecting) socket.destroy();
      else socket.resetAndDestroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => finish({ failure: "timeout" }), timeout);
    socket.on("data", (bytes) => {
      text += bytes;
      if (text.includes("\n")) finish(answer(text, began));
    });
    socket.on("error", (error) => finish({ failure: failureOf(error) }));
    socket.on("end", () => finish({ failure: "closed" }));
  });
}

/**
 * A source port is not used again before all others were: the gateway remembers a UDP flow for 30 s, and a second
 * datagram of the same flow is not a new choice. (The kernel's own choice is random and soon repeats.)
 */
let lastPort = 1023;
function nextPort() {
  lastPort = lastPort === 65_535 ? 1_024 : lastPort + 1;
  return lastPort;
}

function attemptUdp({ to, port, from, fromPort = nextPort(), timeout = TIMEOUT, bytes }) {
  return new Promise((resolve) => {
    const began = performance.now();
    const socket = createSocket(to.includes(":") ? "udp6" : "udp4");
    let finished = false;
    const finish = (outcome) => {
      if (finished) return;
      finished = true;
      clearTimeout(timer);
      socket.close();
      resolve(outcome);
    };
    const timer = setTimeout(() => finish({ failure: "timeout" }), timeout);
    socket.on("error", (error) => finish({ failure: failureOf(error) }));
    socket.on("message", (bytes) => finish(answer(bytes.toString(), began)));
    socket.bind({ address: from, port: fromPort, exclusive: true }, () => {
      // Connected, so that an ICMP error reaches us and an answer from a stranger does not.
      socket.connect(port, to, (error) => {
        if (error) finish({ failure: failureOf(error) });
        else
          socket.send(request(bytes), (failed) => {
            if (failed) finish({ failure: failureOf(failed) });
          });
      });
    });
  });
}

/** What a backend is asked with: as it is, or of that many bytes, and for an answer of as many. */
export function request(bytes) {
  return bytes === undefined ? "?\n" : `${`?${bytes} `.padEnd(bytes - 1)}\n`;
}

export function answer(text, began) {
  const line = text.slice(0, text.indexOf("\n"));
  return { ...JSON.parse(line), ms: Math.round((performance.now() - began) * 10) / 10 };
}

const failures = {
  ECONNREFUSED: "refused",
  ECONNRESET: "reset",
  EHOSTUNREACH: "unreachable",
  ENETUNREACH: "unreachable",
  ETIMEDOUT: "timeout",
};

export function failureOf(error) {
  return failures[error.code] ?? error.code ?? error.message;
}
