import { readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * The chapters of the tool that runs on a gateway, in the order in which they stand in it: one POSIX shell script,
 * because a gateway gets one file that needs nothing else.
 */
const CHAPTERS = [
  "start",
  "files",
  "services",
  "fence",
  "stored",
  "nftables",
  "iptables",
  "sets",
  "kernel",
  "change",
  "flows",
  "machine",
  "trial",
  "commands",
  "status",
  "main",
];

/** The tool, a POSIX shell script. */
export function toolText(): string {
  return CHAPTERS.map((name) => readFileSync(join(__dirname, "tool", `${name}.sh`), "utf8")).join("\n");
}
