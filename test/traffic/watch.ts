/**
 * What the kernel itself says about packets that a farm missed: a table of somebody else's on the gateway, whose hooks
 * come after those of the farms. It counts; it changes nothing.
 */

import type { Gateway } from "../support/lab";
import { familyOf } from "../support/lab/addresses";

/** Packets, since the watch began. */
export interface Seen {
  /** First packets for a virtual IP that nat did not translate, before any guard could drop them. */
  readonly missed: number;
  /** Untranslated packets for a virtual IP that reached the gateway itself … */
  readonly input: number;
  /** … that were forwarded, to the uplink for instance … */
  readonly forward: number;
  /** … and that started on the gateway and were about to leave. */
  readonly output: number;
  /** First packets that were translated to an address which was no member of the farm just then. */
  readonly stray: number;
  /** First packets that were translated to a member, so that a test knows that something was watched. */
  readonly good: number;
}

/** Nothing went astray. */
export const CLEAN = { missed: 0, input: 0, forward: 0, output: 0, stray: 0 };

const FAMILIES = [
  [4, "ip", "ipv4_addr"],
  [6, "ip6", "ipv6_addr"],
] as const;

const COUNTERS = ["missed", "input", "forward", "output", "stray", "good"] as const;

export class Watch {
  private members: readonly string[] = [];

  private constructor(private readonly gateway: Gateway) {}

  /** @param vips - Every port of them is watched, so clients may dial only ports that a farm serves. */
  static async start(gateway: Gateway, vips: readonly string[]): Promise<Watch> {
    await gateway.sh("nft -f -", { input: table(vips, gateway.front) });
    return new Watch(gateway);
  }

  /** From now on these addresses, and those that were members until now, may be translated to. */
  async expectAlso(addresses: readonly string[]): Promise<void> {
    this.members = [...new Set([...this.members, ...addresses])];
    await this.set();
  }

  /** From now on only these. */
  async expectOnly(addresses: readonly string[]): Promise<void> {
    this.members = addresses;
    await this.set();
  }

  async seen(): Promise<Seen> {
    const text = await this.gateway.sh("nft list counters table inet watch");
    const count = (name: string) =>
      Number(new RegExp(`counter ${name} \\{\\s*packets (\\d+)`).exec(text)?.[1]);
    return Object.fromEntries(COUNTERS.map((name) => [name, count(name)])) as unknown as Seen;
  }

  async end(): Promise<Seen> {
    const seen = await this.seen();
    await this.gateway.sh("nft delete table inet watch");
    return seen;
  }

  private async set(): Promise<void> {
    const lines = FAMILIES.flatMap(([family, name]) => {
      const own = this.members.filter((address) => familyOf(address) === family);
      const add = own.length === 0 ? [] : [`add element inet watch members_${name} { ${own.join(", ")} }`];
      return [`flush set inet watch members_${name}`, ...add];
    });
    await this.gateway.sh("nft -f -", { input: `${lines.join("\n")}\n` });
  }
}

/**
 * nat translates at priority −100; guards drop at −90 (nftables), in mangle at −150 of a later hook and in filter at 0
 * (iptables). Replies of backends are not dialled by anybody, so the hooks that could meet them go by the interface.
 */
function table(vips: readonly string[], front: string): string {
  const chains: Record<string, string[]> = { first: [], input: [], forward: [], output: [], chosen: [] };
  const sets = FAMILIES.flatMap(([family, name, type]) => {
    const own = vips.filter((address) => familyOf(address) === family);
    const dialled = `${name} daddr @vips_${name}`;
    chains.first!.push(`iifname ${front} ct state new ${dialled} counter name missed`);
    chains.input!.push(`iifname ${front} ${dialled} counter name input`);
    chains.forward!.push(`iifname ${front} ${dialled} counter name forward`);
    chains.output!.push(`${dialled} counter name output`);
    const begins = `ct state new ct direction original ct original ${name} daddr @vips_${name}`;
    chains.chosen!.push(
      `${begins} ${name} daddr @members_${name} counter name good return`,
      `${begins} counter name stray`,
    );
    return [
      `\tset vips_${name} { type ${type}; ${own.length > 0 ? `elements = { ${own.join(", ")} }; ` : ""}}`,
      `\tset members_${name} { type ${type}; }`,
    ];
  });
  const hooks = {
    first: "prerouting priority -95",
    input: "input priority 300",
    forward: "forward priority 300",
    output: "output priority 300",
    chosen: "postrouting priority 300",
  };
  return [
    "table inet watch {",
    ...COUNTERS.map((name) => `\tcounter ${name} { }`),
    ...sets,
    ...Object.entries(hooks).flatMap(([name, hook]) => [
      `\tchain ${name} {`,
      `\t\ttype filter hook ${hook};`,
      ...chains[name]!.map((rule) => `\t\t${rule}`),
      "\t}",
    ]),
    "}",
    "",
  ].join("\n");
}
