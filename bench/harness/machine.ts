/** Where figures come from: without it they mean nothing to anybody else. */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { arch, cpus, loadavg, release, totalmem } from "node:os";
import { plainEnvironment } from "../../test/support/lab/process";
import { goVersion } from "../load";

export interface Machine {
  readonly cpu: string;
  readonly cpus: number;
  readonly architecture: string;
  readonly memoryGiB: number;
  readonly virtual: string;
  readonly kernel: string;
  readonly distribution: string;
  readonly nft: string;
  readonly iptables: string;
  readonly conntrackBuckets: number;
  readonly conntrackMax: number;
  readonly node: string;
  readonly go: string;
  /** Of this repository; `+` where files differ from it. */
  readonly commit: string;
  /** Load of the last minute when the measurement began. Above 0.5 the machine had other work. */
  readonly load: number;
}

export function machine(): Machine {
  const [first] = cpus();
  return {
    cpu: first?.model.trim() ?? "unknown",
    cpus: cpus().length,
    architecture: arch(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    virtual: said("systemd-detect-virt") || (/hypervisor/.test(text("/proc/cpuinfo")) ? "virtual" : "none"),
    kernel: release(),
    distribution: /^PRETTY_NAME="?([^"\n]*)/m.exec(text("/etc/os-release"))?.[1] ?? "unknown",
    nft: said("nft", "--version").replace(/ \(.*/, ""),
    iptables: said("iptables", "--version"),
    conntrackBuckets: Number(text("/proc/sys/net/netfilter/nf_conntrack_buckets")),
    conntrackMax: Number(text("/proc/sys/net/netfilter/nf_conntrack_max")),
    node: process.version,
    go: goVersion(),
    commit: commit(),
    load: Number(loadavg()[0]?.toFixed(2)),
  };
}

function commit(): string {
  const head = said("git", "-C", __dirname, "rev-parse", "--short", "HEAD");
  const changed = said(
    "git",
    "-C",
    __dirname,
    "status",
    "--porcelain",
    "--",
    ":/src",
    ":/bench",
    ":!/bench/results",
  );
  return head && `${head}${changed ? "+" : ""}`;
}

function text(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}

/** What a command prints on its first line; nothing where it is missing or fails. */
function said(command: string, ...args: string[]): string {
  try {
    const stdio = ["ignore", "pipe", "ignore"] as const;
    const output = execFileSync(command, args, {
      encoding: "utf8",
      env: plainEnvironment,
      stdio: [...stdio],
    });
    return output.trim().split("\n")[0] ?? "";
  } catch (error) {
    // systemd-detect-virt says "none" and fails.
    return String((error as { stdout?: string }).stdout ?? "").trim();
  }
}
