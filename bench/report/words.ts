/** The words of docs/performance.md. */

export const INTRODUCTION = `What a farm costs on its gateway, measured by \`npm run bench\` (all) or \`npm run bench -- B3\` (one). Every figure is a ratio to a
baseline of the same round, the median of the rounds; the small numbers beside it are the middle half of them. ✓ and ✗ say whether a
target is met.

How it is measured:

- **The road.** Client, gateway and sink are network namespaces, linked by veth pairs. In there the kernel handles a packet to its end inside the
  system call that sends it: the sender's CPU does the client's, the gateway's and the sink's work, one packet after the other. So a
  single thread that never waits saturates the gateway, and the time that a packet takes is what it costs. Nothing leaves the machine, and
  its own rules and sysctls stay as they are.
- **The generator** is a Go program (\`bench/load\`) that hands the kernel 64 frames a system call through a raw socket, on the machine's last CPU, to which
  it is pinned: the kernel prefers the first one for its other work. It reads the CPU time of its own thread (the clock is in
  the results too), so other work on the machine disturbs little. What sender and sink cost is in every figure, about half of that of
  "forward only".
- **A round** measures every rule set once, in an order that turns from round to round. Rules are loaded anew each time, connections
  forgotten (\`conntrack -F\`), 4,096 packets sent for nothing, to fill caches and the kernel's slabs; then 60,000 at most, so that the table of
  connections stays less than a quarter full. A sample is the median over chunks of 1,024 packets.
- **Rivals**: the naive rules of many guides (one of probability 1/n after the other, which leave up to 37 % of the connections without a
  backend), Zevenet's list of marks, kube-proxy's chain in iptables mode. All iptables rules are loaded by iptables-nft, Debian's default,
  unless it says legacy.`;

/** By measurement: what is compared, and how to read it. */
export const ABOUT: Readonly<Record<string, string>> = {
  B1: `Every packet is the first of a UDP flow, to a farm of n backends of equal weight, without source NAT. The baseline is one nat chain with one rule,
\`dnat to numgen random mod n map {…}\`, over the same addresses: it has no mark, no guard, no counter, no second service. Plain DNAT to
one address stands beside it. The second table leaves out what forwarding costs without any rule: a stricter ratio, of connection tracking, translation and
rules alone.`,
  B2: `256 flows that saw packets both ways, sent over and over. The baseline is one rule of plain DNAT in nftables, or a map of as many as there are farms.
Each farm has 10 backends.`,
  B3: `On every CPU one thread dials the farm and plays the backends too: connect, a byte each way, a reset. (A reset, because thousands of connections in
TIME_WAIT would make the last ones dearer than the first.) So the client's and the backend's TCP are in the figure, as in practice, and
the CPUs meet in the gateway's rules. Connections a second of CPU time, all CPUs together.`,
  B4: `As B1, with 10 backends a farm. All farms have the same backends, so that nothing but their number differs; each rule set is compared
with itself on a gateway that holds one farm. First with all flows to one farm, the last in iptables' lists; then every flow to the next farm
in turn, so that the rules of all of them have to be in the CPU's caches.`,
  B5: `\`netfilter-lb restore\` on a gateway whose kernel lost all rules, as at a boot, against \`nft -f\` (\`iptables-restore\`) of the same rules on
the gateway beside it. Farms of 10 backends.`,
  B6: `\`netfilter-lb apply\` of a farm in which one of 10 backends changed, without SSH, against the bare steps of such a change: in nftables three calls of
\`nft -f\` (the new chain, the map's element, the old chain), in iptables one \`iptables-restore --noflush\` of the farm's chains.`,
  B7: `The command of a \`rules\` resource over OpenSSH, a connection for each as the provider has it, against \`nft -f\` of the same farm over the same
connection: connecting and logging in are most of both. The engine's own time is in neither. A rule set that is applied again
must not write to the disk; an unchanged program makes no connection at all.`,
  B8: `The test of reloads (\`RELOADS=200 npx vitest run test/traffic/reload.test.ts\`): a farm whose listeners, backends, weights, algorithm and source NAT all change, again and
again, under connections from clients and from the gateway itself. Packets are counted by nftables hooks of the lab.`,
  B9: `Flows from 120,000 client addresses, counted where they arrive. Of random and of hashes Pearson's χ² against the exact shares (of a hash, its
slots); of turns (\`roundRobin\`) by how many flows a backend is off what whole windows and the begun one give it. Beside them, how many flows
found no backend.`,
  B10: `\`compile()\` in this process, of one farm with 10,000 backends of weights 1 to 9 on two ports, and of 1,000 farms with 10 backends each. Nothing is
kept from one call to the next.`,
  B11: `A program with one \`LoadBalancerFarms\` of 10 backends a farm, run by the real engine against a real sshd: \`pulumi up\` of all farms, of a change of one backend, of
no change, and \`pulumi destroy\`. Most of what does not grow with the farms is the engine's start.`,
};

/** By measurement: why a target is missed, and what else is to be known of the figures at hand. */
export const REMARKS: Readonly<Record<string, string>> = {
  B1: `Why targets are missed. nftables: what the baseline leaves out is what is left. A connection's mark makes two look-ups of one (the draw gives the mark,
the mark the address); its counter is an element of a set, so that a change of the farm does not set it to zero; and the guard, which keeps what no
rule translated from going on to the virtual IP's own machine, hangs on a hook of its own, through which every packet goes. None of the three is given up for
a few hundredths. iptables: the same guard takes two tables more (mangle and filter), and a choice of one of n walks a tree of chains, each line of which
iptables-nft hands to a module by a wrapper; legacy, which does not, has the same rules for less.`,
  B2: `Why iptables misses: a packet of an established flow passes the first lines of mangle's and filter's FORWARD (the guard, and the accept that makes a farm
work where FORWARD drops), as it passes kube-proxy's. With many farms these lists are trees: a packet is compared with a dozen lines of a thousand.`,
  B4: `Why nftables misses where many farms are dialled in turn: every flow then finds the chain, the two maps and the counters of its farm in the machine's memory
and no more in the CPU's caches. With one farm dialled the number of the others costs nothing.`,
};
