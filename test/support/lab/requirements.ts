/** One clear message when this machine cannot run the lab. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { plainEnvironment } from "./process";

/** Each command with the Debian package that has it. */
const tools = {
  conntrack: "conntrack",
  ip: "iproute2",
  ipset: "ipset",
  iptables: "iptables",
  nft: "nftables",
  nsenter: "util-linux",
  sshd: "openssh-server",
  "ssh-keygen": "openssh-client",
  unshare: "util-linux",
};

/** Throws with everything that is missing and how to get it. */
export function checkRequirements(): void {
  const problems: string[] = [];
  if (process.platform !== "linux") problems.push("it needs Linux");
  else if (process.getuid?.() !== 0)
    problems.push("it needs root: run the tests with sudo, or in a container as root");

  const missing = Object.entries(tools).filter(([command]) => !isInstalled(command));
  if (missing.length > 0) {
    const commands = missing.map(([command]) => command).join(", ");
    const packages = [...new Set(missing.map(([, name]) => name))].join(" ");
    problems.push(`${commands} not found: apt-get install ${packages}`);
  }
  if (problems.length > 0) throw new Error(`the test lab cannot run here: ${problems.join("; ")}`);
}

function isInstalled(command: string): boolean {
  return (plainEnvironment.PATH ?? "").split(":").some((folder) => existsSync(join(folder, command)));
}
