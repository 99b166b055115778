/** A gateway that holds a farm and rules of others, as whoever breaks something finds it and must leave it. */

import { afterAll, expect } from "vitest";
import { type FarmFixture, FOREIGN, type Plane, ruleSet } from "../host/fixtures";
import { type ApplyOptions, Machine, type MachineOptions, OWNER, TOOL } from "../host/support";
import type { Outcome } from "../support/lab/process";

export interface Variant {
  readonly label: string;
  readonly plane: Plane;
  readonly iptables: "nft" | "legacy";
}

export const NFTABLES: Variant = { label: "nftables", plane: "nftables", iptables: "nft" };
export const IPTABLES: Variant = { label: "iptables", plane: "iptables nat", iptables: "nft" };
export const LEGACY: Variant = { label: "iptables-legacy", plane: "iptables nat", iptables: "legacy" };
export const ZEVENET: Variant = { label: "layout zevenet", plane: "iptables zevenet", iptables: "nft" };
export const VARIANTS: readonly Variant[] = [NFTABLES, IPTABLES, LEGACY, ZEVENET];

const SERVICES = ["203.0.113.10 tcp 80", "203.0.113.10 tcp 8000-8080"];

/** Which set is where: the one before the change, or the one that it brings. */
export type Which = "old" | "new";

export interface StartOptions extends MachineOptions {
  /** How many the old set has; the new one has one more. @default 2 */
  readonly backends?: number;
}

/** One gateway a variant for all tests of a file: each leaves it with the old set. */
export function shared(options?: StartOptions): (variant: Variant) => Promise<BareGateway> {
  const started = new Map<Variant, Promise<BareGateway>>();
  afterAll(async () => {
    for (const gateway of started.values()) await (await gateway).end();
  });
  return (variant) => {
    const gateway = started.get(variant) ?? BareGateway.start(variant, options);
    started.set(variant, gateway);
    return gateway;
  };
}

export class BareGateway {
  readonly sets: Readonly<Record<Which, string>>;
  /** What the kernel has of each set, and what the foreign rules read like. */
  private readonly inKernel: Record<Which, string> = { old: "", new: "" };
  foreign = "";
  /** Milliseconds that a change takes when nobody disturbs it. */
  usual = 0;

  private constructor(
    readonly machine: Machine,
    readonly plane: Plane,
    private readonly farms: Readonly<Record<Which, FarmFixture>>,
  ) {
    this.sets = { old: ruleSet(farms.old), new: ruleSet(farms.new) };
  }

  /** Has the old set in force, and has seen the new one. */
  static async start({ plane, iptables }: Variant, options: StartOptions = {}): Promise<BareGateway> {
    const machine = await Machine.start({ iptables, ...options });
    const { backends = 2 } = options;
    const addresses = (from: number) =>
      [...Array(backends + from).keys()].map((n) => `10.0.${n >> 8}.${((n + 3 * from) & 0xff) + 3}`);
    const gateway = new BareGateway(machine, plane, {
      old: { plane, services: SERVICES, backends: addresses(0), masquerade: true },
      new: { plane, services: SERVICES, backends: addresses(1), masquerade: true },
    });
    await machine.sh(FOREIGN);
    await machine.tool(["prepare", "--owner", OWNER, "--plane", plane.split(" ")[0] ?? ""]);
    await gateway.noteForeign();
    for (const which of ["old", "new", "old"] as const) {
      const began = performance.now();
      expect(await gateway.apply(which)).toMatchObject({ code: 0, stderr: "" });
      gateway.usual = performance.now() - began;
      gateway.inKernel[which] = oursOf(await machine.rules(), plane);
    }
    expect(gateway.inKernel.old).not.toBe(gateway.inKernel.new);
    return gateway;
  }

  /** Others have changed their rules: these are what must stay. */
  async noteForeign(): Promise<void> {
    this.foreign = foreignOf(await this.machine.rules());
  }

  end(): Promise<void> {
    return this.machine.end();
  }

  apply(which: Which, options?: ApplyOptions): Promise<Outcome> {
    return this.machine.apply("web", this.sets[which], options);
  }

  /** The new set with a rule more in the farm's first chain. */
  newWith(extra: string): string {
    return ruleSet({ ...this.farms.new, extra });
  }

  /** Does it while /run has so much room and no more. */
  async withRun<T>(kilobytes: number, action: () => Promise<T>): Promise<T> {
    await this.sh(`mount -t tmpfs -o size=${kilobytes}k,mode=755 small /run`);
    try {
      return await action();
    } finally {
      await this.sh("umount /run");
    }
  }

  sh(command: string): Promise<string> {
    return this.machine.sh(command);
  }

  /** From now on a boot starts the foreign rules, and then the tool from its own place. Needs `systemd`. */
  async bootsWithForeignRules(): Promise<void> {
    await this.sh(`cp ${TOOL} /usr/local/sbin/netfilter-lb && chmod 755 /usr/local/sbin/netfilter-lb
      cat >/etc/foreign <<'END'
${FOREIGN}
END
      printf '[Service]\nExecStart=sh /etc/foreign\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/foreign.service
      systemctl enable foreign.service`);
  }

  /** Puts these shell lines in the place of a program; REAL in them is the program itself. */
  async interpose(program: string, lines: string): Promise<void> {
    await this.sh(`real=$(PATH=/usr/sbin:/sbin:/usr/bin:/bin command -v ${program})
      sed "s|REAL|$real|g" >/usr/local/sbin/${program} <<'END'
#!/bin/sh
${lines}
END
      chmod 755 /usr/local/sbin/${program}`);
  }

  async expose(program: string): Promise<void> {
    await this.sh(`rm /usr/local/sbin/${program}`);
  }

  /** Which set is in force, whole. "both" side by side may only be between the two commits of the layout zevenet. */
  async kernel(context = ""): Promise<Which | "both"> {
    const rules = await this.machine.rules();
    expect(foreignOf(rules)).toBe(this.foreign);
    const ours = oursOf(rules, this.plane);
    for (const which of ["old", "new"] as const) if (ours === this.inKernel[which]) return which;
    // Between the two, what both have must not end with the first.
    const lines = new Set(ours.replace(/ -j (?=NFLB-[a-z])/g, " -g ").split("\n"));
    const has = (which: Which) => this.inKernel[which].split("\n").every((line) => lines.has(line));
    if (this.plane === "iptables zevenet" && (has("old") || has("new"))) return "both";
    throw new Error(
      `${context}: neither the old set nor the new one:\n${ours}\n--- old:\n${this.inKernel.old}`,
    );
  }

  /** Which set the next boot restores. */
  async disk(): Promise<Which> {
    const stored = await this.machine.stored("web");
    expect([this.sets.old, this.sets.new]).toContain(stored);
    return stored === this.sets.old ? "old" : "new";
  }

  /** That set is in force and stored, with nothing left beside it. */
  async expectHolds(which: Which): Promise<void> {
    expect(await this.kernel()).toBe(which);
    expect(await this.disk()).toBe(which);
    expect(
      await this.sh("ls -A /etc/netfilter-lb/farms; ls -d /run/netfilter-lb.[0-9]* 2>/dev/null || :"),
    ).toBe("web.rules\n");
  }

  /** The same, by the tool's word too. */
  async expectInStep(which: Which): Promise<void> {
    await this.expectHolds(which);
    expect(await this.machine.tool(["verify"])).toEqual({
      code: 0,
      stdout: "in step: all farms\n",
      stderr: "",
    });
  }

  /** The next run brings the new set, and one more the old, so that the next fault finds what this one found. */
  async expectConverges(): Promise<void> {
    for (const which of ["new", "old"] as const) {
      const outcome = await this.apply(which);
      expect(outcome).toMatchObject({ code: 0, stderr: "" });
      await this.expectInStep(which);
    }
  }

  /** An outcome that says no: the old set is in force and stored, and the next run converges. */
  async expectRefused(outcome: Outcome, code: number): Promise<string> {
    expect(outcome, outcome.stderr).toMatchObject({ code, stdout: "" });
    await this.expectHolds("old");
    return outcome.stderr.trim();
  }
}

/** What is not ours of nft's and iptables' listings. iptables makes tables and built-in chains, which decide nothing while they are empty. */
export function foreignOf(rules: string): string {
  return rules
    .replace(/^table ip6? netfilter_lb \{\n[\s\S]*?^\}\n/gm, "")
    .replace(/^\tchain NFLB-\S+ \{\n[\s\S]*?^\t\}\n/gm, "")
    .replace(/^.*\bNFLB-.*\n/gm, "")
    .replace(/^:[A-Z]+ ACCEPT *\n/gm, "")
    .replace(/^\tchain [A-Z]+ \{\n\t\ttype .* policy accept;\n\t\}\n/gm, "")
    .replace(/\n{2,}/g, "\n")
    .replace(/^(table ip6? \w+ \{\n\}|\*\w+\nCOMMIT)\n/gm, "");
}

/** What decides about a farm's packets: base chains, elements and the chains that they lead to, or our chains of iptables. */
export function oursOf(rules: string, plane: Plane): string {
  if (plane !== "nftables")
    return rules
      .replace(/^(?!-A .*NFLB-|\*).*\n/gm, "")
      .replace(/^[\s\S]*?(?=^\*)/m, "")
      .replace(/^\*.*\n(?=\*|$)/gm, "");
  const table = /^table ip netfilter_lb \{\n[\s\S]*?^\}/m.exec(rules)?.[0] ?? "";
  const blocks = [...table.matchAll(/^\t\S+ (\S+) \{\n[\s\S]*?^\t\}/gm)];
  // A shared map stays until the table goes, and asking an empty one decides nothing.
  const empty = blocks.flatMap(([text, name]) =>
    /^\t(map|set) [a-z_]+ \{/.test(text) && !/elements =/.test(text) ? [name] : [],
  );
  const shared = blocks
    .filter(([, name]) => !name?.includes(".") && !empty.includes(name))
    .map((block) => {
      const lines = block[0]
        .split("\n")
        .filter((line) => !empty.some((name) => line.includes(`@${name} `) || line.endsWith(`@${name}`)));
      block[0] = lines.join("\n");
      return block;
    })
    .filter(([text]) => /elements =|@/.test(text));
  const reached = new Set(
    shared.flatMap(([text]) => [...text.matchAll(/goto (\S+?)[,\s]/g)].map((m) => m[1])),
  );
  return [...shared, ...blocks.filter(([, name]) => reached.has(name))]
    .map(([text]) => text.replace(/elements = \{[^}]*\}/, (list) => list.split(/,\s*/).sort().join()))
    .sort()
    .join("\n");
}
