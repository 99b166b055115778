/** Rules of somebody else on a gateway: in every place where farms stand too, and how they read. */

interface Host {
  sh(command: string): Promise<string>;
}

/** Nothing of it concerns what farms of the tests serve. */
const FOREIGN = `
nft -f - <<'X'
table inet theirs {
	set blocked { type ipv4_addr; elements = { 192.0.2.66 } }
	chain forward { type filter hook forward priority 0; policy accept; ip saddr @blocked drop; }
	chain nat { type nat hook prerouting priority -100; ip daddr 203.0.113.99 tcp dport 99 dnat ip to 192.0.2.2:80; }
}
X
for t in iptables ip6tables; do
  $t -N THEIRS; $t -A FORWARD -j THEIRS; $t -A THEIRS -p tcp --dport 25 -j DROP; $t -A INPUT -p tcp --dport 22 -j ACCEPT
  $t -t nat -A POSTROUTING -o eth9 -j MASQUERADE; $t -t nat -A PREROUTING -p tcp --dport 2525 -j REDIRECT --to-ports 25
  $t -t nat -A OUTPUT -p tcp --dport 2526 -j REDIRECT --to-ports 25
  $t -t mangle -A PREROUTING -p udp --dport 9 -j DROP; $t -t mangle -A INPUT -p udp --dport 10 -j DROP
  $t -t mangle -A FORWARD -p udp --dport 9 -j DROP; $t -t mangle -A OUTPUT -p udp --dport 9 -j DROP
  $t -A OUTPUT -p udp --dport 9 -j DROP
done`;

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

/** How many rules {@link foreignRules} has. */
export function ruleCount(rules: string): number {
  return rules.match(/^(-A |\t\t(?!type |elements ))/gm)?.length ?? 0;
}
