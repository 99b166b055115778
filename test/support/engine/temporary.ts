/**
 * Temporary folders that do not outlive their process: removed when it exits, and what a killed one left
 * is removed by the next.
 */
import { rmSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PREFIX = "pulumi-netfilter-lb-";
const made = new Set<string>();

process.on("exit", () => {
  for (const folder of made) rmSync(folder, { recursive: true, force: true });
});

/** A new folder `pulumi-netfilter-lb-<topic>-<pid>-…` under the system's temporary one. */
export async function makeTemporary(topic: string): Promise<string> {
  await removeAbandoned(topic);
  const folder = await mkdtemp(join(tmpdir(), `${PREFIX}${topic}-${process.pid}-`));
  made.add(folder);
  return folder;
}

async function removeAbandoned(topic: string): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = new RegExp(`^${PREFIX}${topic}-(\\d+)-`).exec(name)?.[1];
    if (pid && !isAlive(Number(pid))) await rm(join(tmpdir(), name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
