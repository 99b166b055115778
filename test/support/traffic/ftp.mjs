/**
 * As much of FTP (RFC 959, RFC 2428) as it takes to have one data connection opened: the address of its end is told in the
 * text of the control connection, where a gateway that translates must read it.
 */

import { connect, createServer } from "node:net";
import { failureOf } from "./attempt.mjs";

/** Listens at the control port. Every data connection is sent one line that says where it is served from. */
export function serveFtp({ port = 21 } = {}) {
  return new Promise((resolve, reject) => {
    const server = createServer({ noDelay: true }, converse);
    server.once("error", reject);
    server.listen({ host: "::", port }, () => resolve());
  });
}

function converse(control) {
  const say = (line) => control.write(`${line}\r\n`);
  control.on("error", () => {});
  linesOf(control, (line) => {
    const [command, argument = ""] = line.split(" ");
    if (command === "USER") say("230 welcome");
    else if (command === "PASV" || command === "EPSV") listen(control, command, say);
    else if (command === "PORT" || command === "EPRT") dial(control, argument, say);
    else say("502 not here");
  });
  say("220 ready");
}

function listen(control, command, say) {
  const address = plain(control.localAddress);
  const data = createServer((socket) => {
    sendData(socket);
    data.close();
  });
  data.listen({ host: plain(control.localAddress), port: 0 }, () => {
    const { port } = data.address();
    if (command === "EPSV") say(`229 Entering Extended Passive Mode (|||${port}|)`);
    else say(`227 Entering Passive Mode (${toTuple(address, port)}).`);
  });
}

function dial(control, argument, say) {
  const { address, port } = argument.startsWith("|") ? fromBars(argument) : fromTuple(argument);
  const socket = connect({ host: address, port, localAddress: plain(control.localAddress) }, () => {
    say("200 connected");
    sendData(socket);
  });
  socket.on("error", (error) => say(`425 ${failureOf(error)}`));
}

function sendData(socket) {
  socket.on("error", () => {});
  socket.end(`${JSON.stringify({ address: plain(socket.localAddress) })}\n`);
}

/**
 * Has one data connection opened.
 *
 * @returns who served the control connection's data (`address`), the end that was told (`told`, without the address where
 *   the text has none), and the server's end of the data connection as the client sees it (`peer`); or `failure`
 */
export function transfer({ to, port = 21, from, mode, timeout = 3_000 }) {
  return new Promise((resolve) => {
    const six = to.includes(":");
    const control = connect({ host: to, port, localAddress: from, noDelay: true });
    const open = [control];
    const finish = (outcome) => {
      clearTimeout(timer);
      for (const one of open) one.close?.();
      for (const one of open) one.destroy?.();
      resolve(outcome);
    };
    let told;
    const timer = setTimeout(() => finish({ failure: "timeout", told }), timeout);
    const receive = (socket) => {
      open.push(socket);
      socket.on("error", (error) => finish({ failure: failureOf(error), told }));
      linesOf(socket, (line) => finish({ ...JSON.parse(line), told, peer: plain(socket.remoteAddress) }));
    };
    control.on("error", (error) => finish({ failure: failureOf(error) }));
    linesOf(control, (line) => {
      const code = line.slice(0, 3);
      // The kernel reads a command only where it saw the line before it end.
      if (code === "220") control.write("USER anonymous\r\n");
      else if (code === "230" && mode === "passive") control.write(six ? "EPSV\r\n" : "PASV\r\n");
      else if (code === "230") {
        const data = createServer(receive);
        open.push(data);
        data.listen({ host: control.localAddress, port: 0 }, () => {
          const { port: own } = data.address();
          const address = plain(control.localAddress);
          control.write(six ? `EPRT |2|${address}|${own}|\r\n` : `PORT ${toTuple(address, own)}\r\n`);
        });
      } else if (code === "227") {
        told = fromTuple(/\(([\d,]+)\)/.exec(line)[1]);
        receive(connect({ host: told.address, port: told.port, localAddress: from }));
      } else if (code === "229") {
        told = { port: Number(/\|(\d+)\|/.exec(line)[1]) };
        receive(connect({ host: to, port: told.port, localAddress: from }));
      } else if (code !== "200") finish({ failure: line, told });
    });
  });
}

function linesOf(socket, take) {
  let text = "";
  socket.on("data", (bytes) => {
    text += bytes;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      take(text.slice(0, end).trimEnd());
      text = text.slice(end + 1);
    }
  });
}

function toTuple(address, port) {
  return [...address.split("."), port >> 8, port & 0xff].join(",");
}

function fromTuple(text) {
  const numbers = text.split(",").map(Number);
  return { address: numbers.slice(0, 4).join("."), port: numbers[4] * 256 + numbers[5] };
}

function fromBars(text) {
  const [, , address, port] = text.split("|");
  return { address, port: Number(port) };
}

function plain(address) {
  return address?.replace(/^::ffff:/, "") ?? "";
}
