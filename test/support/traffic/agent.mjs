/**
 * The traffic program of one host: a server and a client, told what to do by JSON lines on standard input.
 *
 *     → {"id": 1, "do": "connect", "with": {"to": "203.0.113.10", "port": 80, "count": 100}}
 *     ← {"id": 1, "result": {…}}   or   {"id": 1, "error": "…"}
 *
 * Plain JavaScript, because it must start fast. It ends when its standard input does.
 */

import { createInterface } from "node:readline";
import { connectMany, startSteady, stopSteady } from "./client.mjs";
import { serveFtp, transfer } from "./ftp.mjs";
import { ask, hangUp, open } from "./held.mjs";
import { serve, stopServing } from "./server.mjs";
import { fetchTftp, serveTftp } from "./tftp.mjs";
import { askTwice } from "./twins.mjs";
import { sendDatagrams } from "./udp.mjs";

const abilities = {
  ask,
  askTwice,
  connect: connectMany,
  fetchTftp,
  hangUp,
  open,
  send: sendDatagrams,
  serve,
  serveFtp,
  serveTftp,
  startSteady,
  stopServing,
  stopSteady,
  transfer,
};

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const request = JSON.parse(line);
  const reply = { id: request.id };
  try {
    reply.result = (await abilities[request.do](request.with)) ?? null;
  } catch (error) {
    reply.error = error.message;
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
});
lines.on("close", () => process.exit(0));
