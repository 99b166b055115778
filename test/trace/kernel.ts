import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { toolText } from "../../src/host/tool";

const TOOL = join(__dirname, "../../src/host/tool");

/** The real nft and iptables, in a network namespace of their own that is gone when the command ends. */

/** What a shell script prints there, given `input`. @throws with everything that the commands said */
export function inEmptyNamespace(script: string, input: string): string {
  const user = process.getuid?.() === 0 ? [] : ["-r"];
  try {
    return execFileSync("unshare", [...user, "-n", "sh", "-euc", script], {
      input,
      encoding: "utf8",
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
      stdio: ["pipe", "pipe", "pipe"],
    });
  } catch (error) {
    throw new Error(`${(error as { stderr?: string }).stderr || error}\n${input}`);
  }
}

/** The table that all farms share on an nftables gateway, as the tool writes it for these rule sets. */
export function nftablesBase(ruleSets: string): string {
  const script = `${shellFunction("nft_maps")}\n${shellFunction("nft_base")}
    set=$(cat)
    for family in ip ip6; do
      maps=$(echo "$set" | nft_maps $family -)
      [ -z "$maps" ] || echo "$maps" | nft_base $family
    done`;
  return execFileSync("sh", ["-euc", script], { input: ruleSets, encoding: "utf8" });
}

/** The lock on what an nftables gateway forwards, as the tool writes it. */
export function nftablesLock(family: "ip" | "ip6"): string {
  return execFileSync("sh", ["-euc", `${shellFunction("nft_lock")}\nnft_lock ${family}`], {
    encoding: "utf8",
  });
}

/**
 * What the tool gives iptables-restore (ip6tables-restore) to bring these rule sets into an empty kernel: the shared chains as trees,
 * and the jumps to them.
 *
 * @param locked whether only what is translated is forwarded
 */
export function iptablesRestore(ruleSets: string, { family = "ip", locked = false } = {}): string {
  const chapters = ["services", "tree", "iptables"].map((name) => `. ${join(TOOL, `${name}.sh`)}`);
  const script = `${chapters.join("\n")}\nlocked() { ${locked}; }\nipt_plan ${family} /dev/null /dev/null /dev/null -`;
  return execFileSync("sh", ["-euc", script], { input: ruleSets, encoding: "utf8", maxBuffer: 2 ** 28 });
}

function shellFunction(name: string): string {
  const text = new RegExp(`^${name}\\(\\) \\{\\n[\\s\\S]*?^\\}$`, "m").exec(toolText())?.[0];
  if (text === undefined) throw new Error(`the tool has no ${name}`);
  return text;
}
