/** Rule sets as docs/rule-set.md has them, written by hand: the tool is tested against the page, not the compiler. */

import { createHash } from "node:crypto";

export const PLANES = ["nftables", "iptables nat", "iptables zevenet"] as const;
export type Plane = (typeof PLANES)[number];

export interface FarmFixture {
  readonly name?: string;
  readonly plane?: Plane;
  /** As in the header: `203.0.113.10 tcp 80`. */
  readonly services?: readonly string[];
  readonly backends?: readonly string[];
  readonly masquerade?: boolean;
  /** A rule more in the farm's first chain, to be refused by somebody. */
  readonly extra?: string;
}

/** Rules of somebody else, in every place where the tool works too. */
export const FOREIGN = `
nft -f - <<'X'
table inet theirs {
	set blocked { type ipv4_addr; elements = { 192.0.2.66 } }
	chain forward { type filter hook forward priority 0; policy accept; ip saddr @blocked drop; }
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

interface Service {
  readonly address: string;
  readonly protocol: string;
  readonly port: string;
  readonly family: "ip" | "ip6";
}

const FAMILIES = ["ip", "ip6"] as const;

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const hex = (backend: string) => `0x${sha256(backend).slice(0, 8).replace(/^0+/, "1")}`;
const familyOf = (address: string) => (address.includes(":") ? "ip6" : "ip");

/** The first chain of a farm as the kernel has it. */
export function chainOf(set: string, short = "web"): string {
  return `${short}.${sha256(set).slice(0, 8)}`;
}

export function ruleSet(farm: FarmFixture = {}): string {
  const { name = "web", plane = "nftables", services = ["203.0.113.10 tcp 80"] } = farm;
  const short = name.length <= 12 ? name : `${name.slice(0, 2)}--${sha256(name).slice(0, 8)}`;
  const parsed = services.map((line): Service => {
    const [address = "", protocol = "", port = ""] = line.split(" ");
    return { address, protocol, port, family: familyOf(address) };
  });
  const lines = [
    "# netfilter-lb rule set 1",
    `# farm ${name}`,
    `# short-name ${short}`,
    `# data-plane ${plane}`,
    ...services.map((service) => `# service ${service}`),
    ...(plane === "nftables" ? nftables(short, parsed, farm) : iptables(short, parsed, plane, farm)),
    "",
  ];
  return lines.join("\n");
}

function backendsOf(family: "ip" | "ip6", { backends = ["10.0.0.3", "10.0.0.4"] }: FarmFixture): string[] {
  return backends.map((backend) => (family === "ip6" ? backend.replace("10.0.0.", "2001:db8:1::") : backend));
}

function nftables(short: string, services: readonly Service[], farm: FarmFixture): string[] {
  const chains = (name: string) =>
    FAMILIES.filter((family) => services.some((service) => service.family === family)).flatMap((family) => {
      const backends = backendsOf(family, farm);
      return [
        `table ${family} netfilter_lb {`,
        `\tchain ${name} {`,
        ...(farm.extra ? [`\t\t${farm.extra}`] : []),
        `\t\tct mark set numgen random mod ${backends.length} map {`,
        ...backends.map((backend, slot) => `\t\t\t${slot} : ${hex(backend)}, # ${backend} weight 1`),
        "\t\t}",
        "\t\tdnat to ct mark map {",
        ...backends.map((backend) => `\t\t\t${hex(backend)} : ${backend},`),
        "\t\t}",
        "\t}",
        ...(farm.masquerade ? [`\tchain ${name}.source {`, "\t\tmasquerade", "\t}"] : []),
        "}",
      ];
    });
  const name = `${short}.farm`;
  const elements = services.flatMap(({ address, protocol, port, family }) => {
    const kind = protocol === "all" ? "addresses" : port.includes("-") ? "ranges" : "";
    const key = protocol === "all" ? address : `${address} . ${protocol} . ${port}`;
    const add = (map: string, value: string) =>
      `add element ${family} netfilter_lb ${map} { ${key}${value} }`;
    return [
      add(`guarded${kind && `_${kind}`}`, ""),
      add(kind || "services", ` : goto ${name}`),
      ...(farm.masquerade ? [add(kind ? `source_${kind}` : "sources", ` : goto ${name}.source`)] : []),
    ];
  });
  return [...chains(name), ...elements];
}

function iptables(short: string, services: readonly Service[], plane: Plane, farm: FarmFixture): string[] {
  const zevenet = plane === "iptables zevenet";
  const farmChain = `NFLB-${short}`;
  return FAMILIES.flatMap((family) => {
    const own = services.filter((service) => service.family === family);
    if (own.length === 0) return [];
    const backends = backendsOf(family, farm);
    const each = (rule: (match: string, original: string) => string) =>
      own.map(({ address, protocol, port }) => {
        const range = port.replace("-", ":");
        const any = protocol === "all" || range === "0:65535";
        const bits = family === "ip" ? 32 : 128;
        const match = protocol === "all" ? "" : ` -p ${protocol}`;
        const ports = any ? "" : ` -m ${protocol} --dport ${range}`;
        const original = any ? "" : ` --ctorigdstport ${range}`;
        return rule(
          `-d ${address}/${bits}${match}${ports}`,
          `${match && `${match.slice(1)} `}-m conntrack --ctstate DNAT --ctorigdst ${address}${original}`,
        );
      });
    const chosen = backends.length;
    const marking = [
      `-A ${farmChain} -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff`,
      ...backends.map(
        (backend, slot) =>
          `-A ${farmChain} -m statistic --mode random --probability ${probability(slot + 1)} ` +
          `-j MARK --set-xmark ${hex(backend)}/0xffffffff`,
      ),
      `-A ${farmChain} -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff`,
    ];
    const byMark = backends.map(
      (backend) => `-A ${farmChain} -m mark --mark ${hex(backend)} -j DNAT --to-destination ${backend}`,
    );
    const leaf = (backend: string) => `${farmChain}.${hex(backend).slice(2)}`;
    const spread = [
      ...backends.map((backend, slot) =>
        slot === chosen - 1
          ? `-A ${farmChain} -g ${leaf(backend)}`
          : `-A ${farmChain} -m statistic --mode random --probability ${probability(chosen - slot)} ` +
            `-g ${leaf(backend)}`,
      ),
      ...backends.flatMap((backend) => [
        `-A ${leaf(backend)} -j CONNMARK --set-xmark ${hex(backend)}/0xffffffff`,
        `-A ${leaf(backend)} -j DNAT --to-destination ${backend}`,
      ]),
    ];
    return [
      `# ${family}`,
      "*mangle",
      ...(zevenet ? [`:${farmChain} - [0:0]`] : []),
      ...(zevenet ? each((match) => `-A NFLB-PREROUTING ${match} -g ${farmChain}`) : []),
      ...each((match) => `-A NFLB-INPUT ${match} -j DROP`),
      ...each((match) => `-A NFLB-FORWARD ${match} -j DROP`),
      ...(zevenet ? marking : []),
      "COMMIT",
      "*nat",
      `:${farmChain} - [0:0]`,
      ...(zevenet ? [] : backends.map((backend) => `:${leaf(backend)} - [0:0]`)),
      ...each((match) => `-A NFLB-PREROUTING ${match} -g ${farmChain}`),
      ...each((match) => `-A NFLB-OUTPUT ${match} -g ${farmChain}`),
      ...(farm.extra ? [`-A ${farmChain} ${farm.extra}`] : []),
      ...(zevenet ? byMark : spread),
      ...(farm.masquerade ? each((_, original) => `-A NFLB-POSTROUTING ${original} -j MASQUERADE`) : []),
      "COMMIT",
      "*filter",
      ...each((_, original) => `-A NFLB-FORWARD ${original} -j ACCEPT`),
      ...each((match) => `-A NFLB-OUTPUT ${match} -j DROP`),
      "COMMIT",
    ];
  });
}

/** One of n, as the kernel gives it back: in steps of 2^-31, with 11 decimals. */
function probability(n: number): string {
  return (Math.round(2 ** 31 / n) / 2 ** 31).toFixed(11);
}
