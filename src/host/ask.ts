import { createRequire } from "node:module";
import type { Client, ConnectConfig } from "ssh2";

/**
 * Runs one command on a gateway, over SSH, for what Pulumi's provider cannot do: it acts only where something changes.
 *
 * By the package `ssh2`, an optional peer dependency that is loaded only here: it takes a key as text and compares the host's
 * key in memory. OpenSSH's `ssh` would want both in files, and has no way to be given a password.
 */

/** As in `remote.ConnectionArgs`, with every value known. */
export interface KnownConnection {
  host: string;
  port?: number;
  user?: string;
  password?: string;
  privateKey?: string;
  privateKeyPassword?: string;
  agentSocketPath?: string;
  /** Seconds; 0 for no limit. @default 15 */
  perDialTimeout?: number;
  /** `ssh-ed25519 AAAA…` */
  hostKey?: string;
}

export interface Answer {
  code: number;
  stdout: string;
  stderr: string;
}

/** The tool waits up to two minutes for its lock. */
const ANSWER_MILLISECONDS = 180_000;
const MAX_BYTES = 64 * 1024 * 1024;
/** A busy sshd turns connections away (MaxStartups); the second attempt comes after this many milliseconds. */
const PAUSE_MILLISECONDS = 500;

const load = createRequire(__filename);

/** Whether the package `ssh2` is there. */
export function canAsk(): boolean {
  try {
    load.resolve("ssh2");
    return true;
  } catch {
    return false;
  }
}

/** @throws Error, in which nothing of a key or password stands, where the gateway cannot be reached or does not answer in time */
export async function ask(connection: KnownConnection, command: string): Promise<Answer> {
  const client = await connect(connection).catch(async (error: Error) => {
    if (error.message.startsWith(OTHER_KEY)) throw error;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS));
    return await connect(connection);
  });
  try {
    return await run(client, command);
  } finally {
    client.end();
  }
}

const OTHER_KEY = "its host key is not the one that is given";

function connect(connection: KnownConnection): Promise<Client> {
  const { Client } = load("ssh2") as typeof import("ssh2");
  const client = new Client();
  return new Promise((resolve, reject) => {
    let otherKey = false;
    client.on("ready", () => resolve(client));
    // Stays: what breaks later must not take the program down.
    client.on("error", (error) => reject(new Error(otherKey ? OTHER_KEY : error.message)));
    client.on("close", () => reject(new Error("it closed the connection")));
    client.on("keyboard-interactive", (_name, _instructions, _language, prompts, answer) =>
      answer(prompts.map(() => connection.password ?? "")),
    );
    try {
      client.connect(
        configOf(connection, () => {
          otherKey = true;
        }),
      );
    } catch (error) {
      reject(error);
    }
  });
}

function configOf(connection: KnownConnection, refused: () => void): ConnectConfig {
  const { host, port = 22, user = "root", password, privateKey, privateKeyPassword } = connection;
  const agent = connection.agentSocketPath ?? (process.env.SSH_AUTH_SOCK || undefined);
  const [type, key] = connection.hostKey?.trim().split(/\s+/) ?? [];
  return {
    host,
    port,
    username: user,
    ...(password !== undefined && { password, tryKeyboard: true }),
    ...(privateKey !== undefined && { privateKey }),
    ...(privateKeyPassword !== undefined && { passphrase: privateKeyPassword }),
    ...(agent !== undefined && { agent }),
    readyTimeout: (connection.perDialTimeout ?? 15) * 1000,
    ...(type !== undefined &&
      key !== undefined && {
        algorithms: { serverHostKey: [type as "ssh-ed25519"] },
        hostVerifier: (offered: Buffer) => {
          const same = offered.equals(Buffer.from(key, "base64"));
          if (!same) refused();
          return same;
        },
      }),
  };
}

function run(client: Client, command: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(
      () => reject(new Error(`it gave no answer within ${ANSWER_MILLISECONDS / 1000} s`)),
      ANSWER_MILLISECONDS,
    );
    const settle = (action: () => void) => {
      clearTimeout(late);
      action();
    };
    client.on("close", () => settle(() => reject(new Error("the connection was cut before it answered"))));
    client.exec(command, (error, channel) => {
      if (error) return settle(() => reject(error));
      const chunks: Record<"stdout" | "stderr", Buffer[]> = { stdout: [], stderr: [] };
      let size = 0;
      const take = (into: Buffer[]) => (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_BYTES)
          return settle(() => reject(new Error("it says more than an answer has room for")));
        into.push(chunk);
      };
      channel.on("data", take(chunks.stdout));
      channel.stderr.on("data", take(chunks.stderr));
      channel.on("close", (code: number | null) => {
        const [stdout, stderr] = [chunks.stdout, chunks.stderr].map((parts) =>
          Buffer.concat(parts).toString(),
        );
        settle(() => resolve({ code: code ?? -1, stdout: stdout!, stderr: stderr! }));
      });
      channel.end();
    });
  });
}
