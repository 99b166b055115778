/** All rule sets that are compared, by the name that reports use. */

import { bareSpread, forward, plainDnat } from "./baselines";
import { iptables, iptablesLocked, nftables, nftablesLocked, zevenetLayout } from "./ours";
import { kubeProxy, naive, zevenet } from "./rivals";
import type { Scenery } from "./scenery";

/** The command that loads it. `iptables` is a choice of the gateway; Debian's is the nft variant. */
export type Loader = "nft" | "iptables-nft" | "iptables-legacy";

export type Role = "baseline" | "reference" | "ours" | "rival";

export interface Subject {
  readonly name: string;
  readonly role: Role;
  readonly loader: Loader;
  text(scenery: Scenery): string;
}

export const BARE = subject("bare spread", "baseline", "nft", bareSpread);
export const PLAIN = subject("plain DNAT", "reference", "nft", plainDnat);
export const FORWARD = subject("forward only", "reference", "nft", forward);
export const NFTABLES = subject("nftables", "ours", "nft", nftables);
export const IPTABLES = subject("iptables", "ours", "iptables-nft", iptables);
export const LEGACY = subject("iptables (legacy)", "ours", "iptables-legacy", iptables);
export const NFTABLES_LOCKED = subject("nftables, forwarding locked", "reference", "nft", nftablesLocked);
export const IPTABLES_LOCKED = subject(
  "iptables, forwarding locked",
  "reference",
  "iptables-nft",
  iptablesLocked,
);
export const ZEVENET_LAYOUT = subject("iptables, layout zevenet", "ours", "iptables-nft", zevenetLayout);
export const NAIVE = subject("naive rules", "rival", "iptables-nft", naive);
export const ZEVENET = subject("Zevenet's list", "rival", "iptables-nft", zevenet);
export const KUBE_PROXY = subject("kube-proxy's chain", "rival", "iptables-nft", kubeProxy);

function subject(name: string, role: Role, loader: Loader, text: (scenery: Scenery) => string): Subject {
  const texts = new Map<string, string>();
  return {
    name,
    role,
    loader,
    text(scenery) {
      const key = JSON.stringify(scenery);
      const known = texts.get(key) ?? text(scenery);
      texts.set(key, known);
      return known;
    },
  };
}
