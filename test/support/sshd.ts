/** An OpenSSH server on this machine, for tests that need no network of their own. */
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { userInfo } from "node:os";
import { delimiter, join } from "node:path";
import { makeTemporary } from "./engine/temporary";

/** A server with keys of its own. Each connection gets an `sshd -i`, as the current user. */
export interface Sshd {
  connection: { host: string; port: number; user: string; privateKey: string; hostKey: string };
  /** Connections accepted so far. */
  accepted(): number;
  /** Connections open now. */
  open(): number;
  close(): Promise<void>;
}

/** Starts a server at a free port of 127.0.0.1. `settings` are further lines of sshd_config. */
export async function startSshd(settings: string[] = []): Promise<Sshd> {
  const folder = await makeTemporary("sshd");
  for (const name of ["host", "client"]) {
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", join(folder, name)]);
  }
  writeFileSync(join(folder, "authorized_keys"), readFileSync(join(folder, "client.pub")), { mode: 0o600 });
  // Without its folder for privilege separation root's sshd refuses to start.
  if (userInfo().uid === 0) mkdirSync("/run/sshd", { recursive: true });
  const config = [
    `HostKey ${join(folder, "host")}`,
    `AuthorizedKeysFile ${join(folder, "authorized_keys")}`,
    "PidFile none",
    "StrictModes no",
    "PasswordAuthentication no",
    "PermitRootLogin prohibit-password",
    "UsePAM no",
    "LogLevel QUIET",
    ...settings,
  ];
  writeFileSync(join(folder, "config"), `${config.join("\n")}\n`);

  const sshd = commandPath("sshd");
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server = createServer((socket) => {
    accepted++;
    sockets.add(socket);
    const child = spawn(sshd, ["-i", "-e", "-f", join(folder, "config")], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    socket.pipe(child.stdin);
    child.stdout.pipe(socket);
    for (const stream of [socket, child.stdin, child.stdout]) stream.on("error", () => socket.destroy());
    socket.on("close", () => {
      sockets.delete(socket);
      child.kill();
    });
    child.on("close", () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));

  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    connection: {
      host: "127.0.0.1",
      port: address.port,
      user: userInfo().username,
      privateKey: readFileSync(join(folder, "client"), "utf8"),
      hostKey: readFileSync(join(folder, "host.pub"), "utf8").trim(),
    },
    accepted: () => accepted,
    open: () => sockets.size,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** sshd insists on being started by its full path. */
function commandPath(name: string): string {
  const PATH = [process.env.PATH, "/usr/sbin", "/sbin"].join(delimiter);
  return execFileSync("/bin/sh", ["-c", `command -v ${name}`], { env: { PATH }, encoding: "utf8" }).trim();
}
