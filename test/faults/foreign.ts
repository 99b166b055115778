/** Rules of somebody else on a gateway that carries traffic, and how they read. */

import { FOREIGN } from "../host/fixtures";

interface Host {
  sh(command: string): Promise<string>;
}

/** @returns {@link foreignRules} of it */
export async function plantForeignRules(host: Host): Promise<string> {
  await host.sh(FOREIGN);
  return await foreignRules(host);
}

/**
 * Every rule that is not a farm's, in its order, without counters. Tables of iptables are read by iptables alone: a table
 * that it made and left empty is no rule.
 */
export function foreignRules(host: Host): Promise<string> {
  return host.sh(`
    nft list tables | grep -v -e netfilter_lb -e '^table ip6* \\(raw\\|mangle\\|nat\\|filter\\|security\\)$' |
      while read -r table; do nft -s list $table; done
    for command in iptables ip6tables; do
      for table in raw mangle nat filter; do echo "== $command $table"; $command -t $table -S | grep -v NFLB-; done
    done`);
}
