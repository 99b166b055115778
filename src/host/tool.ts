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
  "tree",
  "iptables",
  "sets",
  "kernel",
  "change",
  "flows",
  "forward",
  "machine",
  "trial",
  "commands",
  "group",
  "verify",
  "repair",
  "status",
  "main",
];

/** The tool, a POSIX shell script. It bears the package's version, so that an older package does not take its place. */
export function toolText(): string {
  const text = CHAPTERS.map((name) => readFileSync(join(__dirname, "tool", `${name}.sh`), "utf8")).join("\n");
  return text.replace(/^VERSION=.*$/m, `VERSION=${version()}`);
}

function version(): string {
  return JSON.parse(readFileSync(join(__dirname, "../../package.json"), "utf8")).version;
}
