import { execFileSync } from "node:child_process";
import { toolText } from "../../src/host/tool";

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

/** The table that all farms share on an nftables gateway: the tool's own text. */
export function nftablesBase(): string {
  const base = /^nft_base\(\) \{\n[\s\S]*?^EOF\n\}$/m.exec(toolText())?.[0];
  if (base === undefined) throw new Error("the tool has no nft_base");
  return execFileSync("sh", ["-euc", `${base}\nnft_base ip\nnft_base ip6`], { encoding: "utf8" });
}
