/** System commands that the test lab needs, from Debian packages. */
import { run, StepError, say, which } from "./run.mjs";

/** command → the package that has it */
const NEEDED = {
  nft: "nftables",
  iptables: "iptables",
  sshd: "openssh-server",
  ssh: "openssh-client",
  "ssh-keygen": "openssh-client",
  conntrack: "conntrack",
  ipset: "ipset",
  shellcheck: "shellcheck",
  busybox: "busybox",
  sudo: "sudo",
  ip: "iproute2",
  unshare: "util-linux",
  nsenter: "util-linux",
  sysctl: "procps",
};

export async function installDebianPackages() {
  const missing = Object.keys(NEEDED).filter((command) => !which(command));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((command) => NEEDED[command]))];
  const byHand = `Missing commands: ${missing.join(", ")}. On Debian or Ubuntu, as root: apt-get install ${packages.join(" ")}`;
  if (!which("apt-get")) throw new StepError(`there is no apt-get here. ${byHand}`);
  if (process.getuid() !== 0) throw new StepError(`only root can install packages. ${byHand}`);

  say(`Debian packages: ${packages.join(" ")}`);
  const options = ["-y", "-q", "-o", "DPkg::Lock::Timeout=120"];
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  const install = (remedy) =>
    run("apt-get", ["install", "--no-install-recommends", ...options, ...packages], {
      env,
      progress: "apt-get install",
      remedy,
    });
  try {
    await install();
  } catch {
    // A fresh machine has no package lists yet, an old one stale ones.
    say("package lists (apt-get update)");
    await run("apt-get", ["update", ...options], { env, progress: "apt-get update", remedy: byHand });
    await install(byHand);
  }
  const still = missing.filter((command) => !which(command));
  if (still.length > 0)
    throw new StepError(`apt-get succeeded, but these are still missing: ${still.join(", ")}`);
}
