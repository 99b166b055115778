/** A Command that runs on another host, over SSH. */
import { createRequire } from "node:module";
import { createConnection } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Output, previousOutput } from "./output.mjs";
import { goQuote, runError } from "./run-error.mjs";

const { Client, utils } = createRequire(import.meta.url)("ssh2");

/** First wait between two dials, in milliseconds; each further one is half as long again, up to 5 s. */
const FIRST_WAIT = 100;
const LONGER = 1.5;
const LONGEST_WAIT = 5_000;

/**
 * Connections stay open until the provider exits, as the official one leaves them. Held here so that
 * none is collected.
 */
const open = new Set();

/** Runs `command` and returns `{ stdout, stderr }`. @throws when no dial succeeds or it exits other than 0. */
export async function runRemote(command, inputs, previous, log, signal) {
  const client = await dial(inputs.connection, log, signal);
  open.add(client);

  const output = new Output(inputs.logging, log);
  const channel = await start(client, command, inputs, previous, log);
  const reason = await new Promise((resolve) => {
    let ended = "wait: remote command exited without exit status or exit signal";
    channel.on("exit", (code, signalName, _coreDumped, description) => {
      const name = signalName?.replace(/^SIG/, "");
      if (name)
        ended = `Process exited with status ${128 + signalNumber(name)} from signal ${name}${because(description)}`;
      else ended = code ? `Process exited with status ${code}` : "";
    });
    channel.on("data", (data) => output.stdout(data));
    channel.stderr.on("data", (data) => output.stderr(data));
    // A command need not read its stdin.
    channel.on("error", () => {});
    channel.on("close", () => resolve(ended));
    channel.end(inputs.stdin ?? "");
  });
  output.end();
  if (reason) throw runError(reason, command, output.text);
  return output.result();
}

const because = (description) => (description ? `. Reason was: ${description}` : "");

/** The signals that SSH names (RFC 4254, section 6.10) and have a number everywhere. */
const SIGNALS = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  ABRT: 6,
  FPE: 8,
  KILL: 9,
  SEGV: 11,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
};
const signalNumber = (name) => SIGNALS[name] ?? 0;

/**
 * Dials until it succeeds or `dialErrorLimit` retries (−1: no limit) have failed. Every kind of error is
 * tried again, a wrong key or an unexpected host key included.
 */
async function dial(connection, log, signal) {
  const config = sshConfig(connection);
  const limit = connection.dialErrorLimit ?? 10;
  let wait = FIRST_WAIT;
  for (let failed = 1; ; failed++) {
    try {
      return await connect(config);
    } catch (error) {
      if (limit > -1 && failed > limit)
        throw new Error(`after ${failed - 1} failed attempts: ${error.message}`);
      log.status(`Dial ${failed}/${limit === -1 ? "inf" : limit} failed: retrying`);
    }
    await sleep(wait, undefined, { signal }).catch(() => {
      throw new Error("context canceled");
    });
    wait = Math.min(wait * LONGER, LONGEST_WAIT);
  }
}

function sshConfig(connection) {
  const { host, user = "root", password, privateKey, privateKeyPassword, hostKey } = connection;
  const agent = connection.agentSocketPath ?? (process.env.SSH_AUTH_SOCK || undefined);
  const expected = hostKey ? publicKey(hostKey) : undefined;
  if (privateKey) parsePrivateKey(privateKey, privateKeyPassword);
  const authentication = [
    privateKey && "publickey",
    password && "password",
    password && "keyboard-interactive",
    agent && "agent",
  ];
  return {
    host,
    port: connection.port ?? 22,
    username: user,
    ...(password && { password, tryKeyboard: true }),
    ...(privateKey && { privateKey, passphrase: privateKeyPassword }),
    ...(agent && { agent }),
    authHandler: ["none", ...authentication.filter(Boolean)],
    dialTimeout: (connection.perDialTimeout ?? 15) * 1_000,
    // A server that accepts and then says nothing is waited for without an end, as the official one does.
    readyTimeout: 0,
    ...(expected && {
      algorithms: { serverHostKey: [expected.type] },
      hostVerifier: (key) => key.equals(expected.data),
    }),
  };
}

/**
 * An authorized_keys line, of which type and data count: `ssh-ed25519 AAAA… comment`. One field may stand
 * before them (options there, the host in a known_hosts line).
 */
function publicKey(line) {
  const fields = line.trim().split(/\s+/);
  for (const [type, data] of [fields, fields.slice(1)]) {
    const bytes = Buffer.from(data ?? "", "base64");
    if (bytes.length > 4 && bytes.toString("latin1", 4, 4 + bytes.readUInt32BE(0)) === type)
      return { type, data: bytes };
  }
  throw new Error("failed to parse host key: ssh: no key found");
}

function parsePrivateKey(privateKey, passphrase) {
  const parsed = utils.parseKey(privateKey, passphrase);
  if (!(parsed instanceof Error)) return;
  const encrypted = /passphrase/.test(parsed.message) && !passphrase;
  throw new Error(encrypted ? "ssh: this private key is passphrase protected" : "ssh: no key found");
}

async function connect(config) {
  const sock = await openSocket(config);
  return await new Promise((resolve, reject) => {
    const client = new Client();
    client.on("keyboard-interactive", (_name, _instructions, _language, prompts, answer) =>
      answer(prompts.map(() => config.password)),
    );
    client.once("ready", () => resolve(client));
    // Stays: a connection that breaks later must not take the provider down with it.
    client.on("error", (error) => {
      client.destroy();
      reject(new Error(dialError(error, config)));
    });
    client.once("close", () => reject(new Error("ssh: handshake failed: EOF")));
    client.connect({ ...config, sock });
  });
}

function openSocket(config) {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: config.host, port: config.port });
    const fail = (error) => {
      socket.destroy();
      reject(new Error(dialError(error, config)));
    };
    socket.setTimeout(config.dialTimeout, () => fail({ code: "ETIMEDOUT" }));
    socket.once("error", fail);
    socket.once("connect", () => {
      socket.setTimeout(0);
      socket.removeListener("error", fail);
      resolve(socket);
    });
  });
}

/** The official words for what goes wrong most often. */
function dialError(error, config) {
  const endpoint = config.host.includes(":")
    ? `[${config.host}]:${config.port}`
    : `${config.host}:${config.port}`;
  if (error.code === "ECONNREFUSED") return `dial tcp ${endpoint}: connect: connection refused`;
  if (error.code === "ECONNRESET")
    return `ssh: handshake failed: read tcp ${endpoint}: read: connection reset by peer`;
  if (error.code === "EHOSTUNREACH") return `dial tcp ${endpoint}: connect: no route to host`;
  if (error.code === "ENETUNREACH") return `dial tcp ${endpoint}: connect: network is unreachable`;
  if (error.code === "ENOTFOUND") return `dial tcp: lookup ${config.host}: no such host`;
  if (error.code === "ETIMEDOUT") return `dial tcp ${endpoint}: i/o timeout`;
  if (error.level === "client-authentication") {
    const attempted = config.authHandler.map((method) => (method === "agent" ? "publickey" : method));
    return `ssh: handshake failed: ssh: unable to authenticate, attempted methods [${[...new Set(attempted)].join(" ")}], no supported methods remain`;
  }
  if (/host denied|verification failed/i.test(error.message))
    return "ssh: handshake failed: ssh: host key mismatch";
  if (/no matching host key/i.test(error.message))
    return `ssh: handshake failed: ssh: no common algorithm for host key; client offered: [${config.algorithms?.serverHostKey ?? ""}]`;
  return `ssh: handshake failed: ${error.message}`;
}

/** Opens the session, sets its environment, starts the command. */
async function start(client, command, inputs, previous, log) {
  const variables = [
    ...Object.entries(inputs.environment ?? {}).map(([name, value]) => ({ name, value, required: true })),
    ...Object.entries(previousOutput(inputs, previous)).map(([name, value]) => ({
      name,
      value,
      required: false,
    })),
  ];
  if (variables.length > 0) setBeforeExec(client, variables, log);
  return await new Promise((resolve, reject) => {
    client.once("environment refused", reject);
    client.exec(command, (error, channel) => (error ? reject(error) : resolve(channel)));
  });
}

/**
 * Asks for each variable and waits for the server's word before the command starts: a refused variable
 * of the user's is an error, a refused one of the run before a warning. The library sends variables
 * without asking for an answer, hence the way through its protocol object.
 */
function setBeforeExec(client, variables, log) {
  const protocol = client._protocol;
  const exec = protocol.exec;
  protocol.exec = async (id, command, wantReply) => {
    protocol.exec = exec;
    const channel = client._chanMgr.get(0);
    for (const { name, value, required } of variables) {
      const refused = await new Promise((resolve) => {
        channel._callbacks.unshift(resolve);
        protocol.env(id, name, value, true);
      });
      if (!refused) continue;
      const advice = unableToSet(name);
      if (!required) log.warning(advice);
      else {
        log.error(advice);
        channel.close();
        client.emit(
          "environment refused",
          new Error(`could not set environment variable ${goQuote(name)}: ssh: setenv failed`),
        );
        return;
      }
    }
    exec.call(protocol, id, command, wantReply);
  };
}

const unableToSet = (name) =>
  `Unable to set '${name}'. This only works if your SSH server is configured to accept\n` +
  "\tthese variables via AcceptEnv. Alternatively, if a Bash-like shell runs the command on the remote host, you could\n" +
  "\tprefix the command itself with the variables in the form 'VAR=value command'";
