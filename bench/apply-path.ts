/**
 * What the tool does on the host, for B5 and B6: a gateway of the lab that grows to a thousand farms by the tool's own
 * applies, and beside it one that holds the same rules, loaded by hand, for the baselines.
 */

import { compile, type FarmSpec, type TargetSpec } from "../src/core";
import { applyCommand } from "../src/host/commands";
import { installTool, ownerOf } from "../test/support/farms";
import { type Gateway, Lab } from "../test/support/lab";
import { iptablesRestore } from "../test/trace/kernel";
import type { Context } from "./harness/measurement";
import type { Figure } from "./harness/result";
import { type Contender, inRounds, type Sample } from "./harness/rounds";
import { farmsOf, nftablesText } from "./rules/ours";
import { IPTABLES, LEGACY, NFTABLES, type Subject } from "./rules/subjects";

const BACKENDS = 10;

interface Plane {
  readonly subject: Subject;
  readonly target: TargetSpec;
  readonly iptables: "nft" | "legacy";
  /** How many farms, in ascending order. iptables takes more than a second for each farm beyond some hundreds. */
  readonly farms: readonly number[];
}

const PLANES: readonly Plane[] = [
  { subject: NFTABLES, target: { dataPlane: "nftables" }, iptables: "nft", farms: [1, 10, 100, 1000] },
  { subject: IPTABLES, target: { dataPlane: "iptables" }, iptables: "nft", farms: [1, 10, 100] },
  { subject: LEGACY, target: { dataPlane: "iptables" }, iptables: "legacy", farms: [1, 10, 100] },
];

export interface ApplyPath {
  /** B5: every farm at once, after the kernel lost them. */
  readonly full: Figure[];
  /** B6: one backend of one farm. */
  readonly edit: Figure[];
  readonly notes: string[];
}

let walked: Promise<ApplyPath> | undefined;

/** Both measurements need a gateway that takes minutes to grow: whichever comes first measures for the other too. */
export function applyPath(context: Context): Promise<ApplyPath> {
  walked ??= walk(context);
  return walked;
}

async function walk(context: Context): Promise<ApplyPath> {
  const path: ApplyPath = { full: [], edit: [], notes: [] };
  for (const plane of PLANES) {
    const name = plane.subject.name;
    const lab = await Lab.create({
      gateways: [
        { name: "ours", iptables: plane.iptables },
        { name: "by-hand", iptables: plane.iptables },
      ],
      backends: 1,
    });
    try {
      const tool = new ByTool(lab.gateway("ours"), plane.target);
      const hand = plane.target.dataPlane === "nftables" ? new ByNft(lab) : new ByIptables(lab);
      await installTool(lab.gateway("ours"));
      const last = context.quick ? [1, 10] : plane.farms;
      for (const farms of last) {
        const seconds = await tool.grow(farms, context, name);
        if (farms === last.at(-1))
          path.notes.push(
            `${name}: the last ${seconds.farms} farms, each by an apply of its own, took ${seconds.each.toFixed(2)} s each.`,
          );
        await hand.load(tool.ruleSets());
        const group = { tool, hand, plane, farms, context };
        path.full.push(...(await inGroup(group, 1.2, "all farms", (by) => by.full())));
        await hand.load(tool.ruleSets());
        path.edit.push(...(await inGroup(group, 1.5, "one backend", (by) => by.edit())));
      }
    } finally {
      await lab.close();
    }
  }
  return path;
}

interface Group {
  readonly tool: ByTool;
  readonly hand: ByHand;
  readonly plane: Plane;
  readonly farms: number;
  readonly context: Context;
}

function inGroup(
  { tool, hand, plane, farms, context }: Group,
  atMost: number,
  what: string,
  sample: (by: ByTool | ByHand) => Promise<Sample>,
): Promise<Figure[]> {
  const base: Contender = {
    subject: hand.name,
    role: "baseline",
    part: plane.subject.name,
    at: farms,
    sample: () => sample(hand),
  };
  const ours: Contender = {
    subject: "netfilter-lb",
    role: "ours",
    part: plane.subject.name,
    at: farms,
    against: base,
    ...(plane.subject === NFTABLES && farms === 1000 && { target: { of: "ratio", atMost } }),
    sample: () => sample(tool),
  };
  return inRounds([base, ours], {
    ...context,
    say: (text) => context.say(`${plane.subject.name}, ${what}, ${text}`),
  });
}

/** Milliseconds of something that runs on a gateway; entering its namespaces is in it, for both sides alike. */
async function timed(work: () => Promise<unknown>): Promise<Sample> {
  const start = performance.now();
  await work();
  return { value: performance.now() - start };
}

class ByTool {
  private readonly specs: [name: string, spec: FarmSpec][] = [];
  private edits = 0;

  constructor(
    private readonly gateway: Gateway,
    private readonly target: TargetSpec,
  ) {}

  ruleSets(): string[] {
    return this.specs.map(([name, spec]) => compile(name, spec, this.target).ruleSet);
  }

  /** @returns how long each new farm took */
  async grow(farms: number, { say }: Context, name: string): Promise<{ farms: number; each: number }> {
    const more = farmsOf({ protocol: "tcp", farms, backends: BACKENDS }).slice(this.specs.length);
    const start = performance.now();
    for (const [k, [farm, spec]] of more.entries()) {
      say(`${name}: farm ${this.specs.length + 1} of ${farms}, the ${k + 1}th of ${more.length} applies`);
      await this.apply(farm, spec);
      this.specs.push([farm, spec]);
    }
    return { farms: more.length, each: (performance.now() - start) / 1000 / more.length };
  }

  /** As at boot: the kernel has none of it, the files have it all. */
  async full(): Promise<Sample> {
    await forgetRules(this.gateway);
    return await timed(() => this.gateway.sh("netfilter-lb restore"));
  }

  async edit(): Promise<Sample> {
    this.edits += 1;
    const [farm, { backends, ...rest }] = this.specs[0]!;
    const other = { address: `10.1.${this.edits >> 8}.${this.edits & 0xff}` };
    const spec = { ...rest, backends: [...backends.slice(0, -1), other] };
    this.specs[0] = [farm, spec];
    return await this.apply(farm, spec);
  }

  private async apply(farm: string, spec: FarmSpec): Promise<Sample> {
    const { ruleSet } = compile(farm, spec, this.target);
    const command = applyCommand(farm, ownerOf(this.gateway), ruleSet, { sudo: false });
    return await timed(() => this.gateway.sh(command, { input: ruleSet }));
  }
}

interface ByHand {
  readonly name: string;
  load(ruleSets: readonly string[]): Promise<void>;
  full(): Promise<Sample>;
  edit(): Promise<Sample>;
}

class ByNft implements ByHand {
  readonly name = "nft -f";
  private readonly gateway: Gateway;
  private text = "";
  private farm = "";
  private edits = 0;

  constructor(lab: Lab) {
    this.gateway = lab.gateway("by-hand");
  }

  async load(ruleSets: readonly string[]): Promise<void> {
    this.text = nftablesText(ruleSets);
    this.farm = ruleSets[0]!;
    this.edits = 0;
    await this.full();
  }

  async full(): Promise<Sample> {
    await forgetRules(this.gateway);
    return await timed(() => this.gateway.sh("nft -f -", { input: this.text }));
  }

  /** A new chain beside the old one; the element that leads to it; the old chain. */
  async edit(): Promise<Sample> {
    const version = (n: number) => (n === 0 ? "farm" : `farm${n}`);
    const [old, next] = [version(this.edits), version(this.edits + 1)];
    this.edits += 1;
    const renamed = this.farm.replace(/(farm0)\.farm\b/g, `$1.${next}`);
    const chain = renamed.slice(renamed.indexOf("table ip "), renamed.indexOf("add element"));
    const element = /add (element ip netfilter_lb services \{ (.*?)) : goto/.exec(renamed)!;
    await this.gateway.write("/run/1.nft", chain);
    await this.gateway.write(
      "/run/2.nft",
      `delete ${element[1]} }\nadd ${element[1]} : goto farm0.${next} }\n`,
    );
    await this.gateway.write("/run/3.nft", `delete chain ip netfilter_lb farm0.${old}\n`);
    return await timed(() => this.gateway.sh("nft -f /run/1.nft && nft -f /run/2.nft && nft -f /run/3.nft"));
  }
}

class ByIptables implements ByHand {
  readonly name = "iptables-restore";
  private readonly gateway: Gateway;
  private text = "";
  private chains = "";

  constructor(lab: Lab) {
    this.gateway = lab.gateway("by-hand");
  }

  async load(ruleSets: readonly string[]): Promise<void> {
    this.text = iptablesRestore(ruleSets.join(""));
    const lines = iptablesRestore(ruleSets[0]!).split("\n");
    const own = lines.slice(lines.indexOf("*nat")).filter((line) => /^(?::|-A )NFLB-farm0/.test(line));
    this.chains = ["*nat", ...own, "COMMIT\n"].join("\n");
    await this.full();
  }

  async full(): Promise<Sample> {
    await forgetRules(this.gateway);
    return await timed(() => this.gateway.sh("iptables-restore", { input: this.text }));
  }

  /** The farm's own chains, filled again. */
  async edit(): Promise<Sample> {
    return await timed(() => this.gateway.sh("iptables-restore --noflush", { input: this.chains }));
  }
}

async function forgetRules(gateway: Gateway): Promise<void> {
  await gateway.sh(`nft flush ruleset
    case $(iptables -V) in *legacy*) ;; *) exit 0 ;; esac
    for table in filter nat mangle raw; do iptables -t $table -F && iptables -t $table -X; done`);
}
