/** B11: all farms of a gateway in one component, from the program to the kernel, with the real engine. */

import { readdirSync, readFileSync } from "node:fs";
import type { FarmSpec, TargetSpec } from "../src/core";
import { Engine } from "../test/support/engine/engine";
import type { PulumiStack } from "../test/support/engine/stack";
import { type Gateway, Lab } from "../test/support/lab";
import type { Measurement } from "./harness/measurement";
import type { Figure } from "./harness/result";
import { type Contender, inRounds, type Sample } from "./harness/rounds";
import { farmsOf } from "./rules/ours";

const PLANES: readonly (readonly [part: string, target: TargetSpec])[] = [
  ["nftables", { dataPlane: "nftables" }],
  ["iptables", { dataPlane: "iptables" }],
];

const PROGRAM = `
import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { LoadBalancerFarms } from "pulumi-netfilter-lb";

const { gateway, farms } = JSON.parse(readFileSync("farms.json", "utf8"));
gateway.connection.privateKey = new pulumi.Config("gateway").requireSecret("privateKey");
new LoadBalancerFarms("all", { gateways: [gateway], farms });
`;

export const group: Measurement = {
  id: "B11",
  title: "All farms of a gateway in one component, end to end",
  unit: "s",
  axis: "farms",
  rounds: 3,
  async run(context) {
    const lab = await Lab.create({ backends: 1 });
    const engine = await Engine.open();
    const figures: Figure[] = [];
    const notes: string[] = [];
    try {
      for (const [part, target] of PLANES)
        for (const farms of context.quick ? [10] : [10, 100, 1000]) {
          const stack = await GroupStack.of(engine, lab.gateway(), target, farms);
          const contender = (subject: string, sample: () => Promise<Sample>): Contender => ({
            subject,
            role: "ours",
            part,
            at: farms,
            sample,
          });
          const contenders = [
            contender("all come", () => stack.come()),
            contender("one changes", () => stack.change()),
            contender("nothing changes", () => stack.same()),
            contender("all leave", () => stack.leave()),
          ];
          figures.push(...(await inRounds(contenders, context)));
          await stack.down();
          notes.push(`${part}, ${farms} farms: ${stack.note()}`);
        }
    } finally {
      await engine.close();
      await lab.close();
    }
    return { figures, notes };
  },
};

/** A stack whose program has one group. */
class GroupStack {
  private isUp = false;
  private edits = 0;
  /** Of the engine's process, in MiB. */
  private peak = 0;
  private readonly dials = new Map<string, number>();

  private constructor(
    private readonly stack: PulumiStack,
    private readonly gateway: Gateway,
    private readonly target: TargetSpec,
    private readonly farms: readonly [name: string, spec: FarmSpec][],
  ) {}

  static async of(engine: Engine, gateway: Gateway, target: TargetSpec, farms: number): Promise<GroupStack> {
    const specs = farmsOf({ protocol: "tcp", farms, backends: 10 });
    const stack = await engine.project(
      {
        "Pulumi.yaml": `name: ${target.dataPlane}-${farms}\nruntime: nodejs\n`,
        "index.ts": PROGRAM,
        "farms.json": "",
      },
      { secrets: { "gateway:privateKey": gateway.connection.privateKey } },
    );
    return new GroupStack(stack, gateway, target, specs);
  }

  async come(): Promise<Sample> {
    await this.down();
    await this.write();
    return await this.timed("come", () => this.up());
  }

  async change(): Promise<Sample> {
    await this.ensureUp();
    this.edits += 1;
    await this.write();
    return await this.timed("one changes", () => this.up());
  }

  async same(): Promise<Sample> {
    await this.ensureUp();
    return await this.timed("nothing changes", () => this.up());
  }

  async leave(): Promise<Sample> {
    await this.ensureUp();
    return await this.timed("leave", () => this.down());
  }

  async down(): Promise<void> {
    if (this.isUp) await this.stack.destroy();
    this.isUp = false;
  }

  note(): string {
    const dials = [...this.dials].map(([what, count]) => `${what} ${count}`).join(", ");
    return `SSH connections: ${dials}. Most memory of the engine: ${this.peak} MiB.`;
  }

  private async up(): Promise<void> {
    await this.stack.up();
    this.isUp = true;
  }

  private async ensureUp(): Promise<void> {
    if (this.isUp) return;
    await this.write();
    await this.up();
  }

  private async write(): Promise<void> {
    const { name } = this.gateway;
    const { privateKey: _, ...connection } = this.gateway.connection;
    const last = (spec: FarmSpec): FarmSpec => ({
      ...spec,
      backends: [...spec.backends.slice(0, -1), { address: `10.1.${this.edits >> 8}.${this.edits & 0xff}` }],
    });
    const farms = Object.fromEntries(
      this.farms.map(([farm, spec], k) => [farm, k === 0 ? last(spec) : spec]),
    );
    await this.stack.write({
      "farms.json": JSON.stringify({ gateway: { name, connection, ...this.target }, farms }),
    });
  }

  private async timed(what: string, action: () => Promise<void>): Promise<Sample> {
    const watch = setInterval(() => {
      this.peak = Math.max(this.peak, enginePeak());
    }, 100);
    const [before, start] = [this.gateway.ssh.accepted, performance.now()];
    try {
      await action();
    } finally {
      clearInterval(watch);
    }
    const value = (performance.now() - start) / 1000;
    this.dials.set(what, this.gateway.ssh.accepted - before);
    return { value };
  }
}

/** The most memory that a running `pulumi` had, in MiB. */
function enginePeak(): number {
  const peaks = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        if (readFileSync(`/proc/${pid}/comm`, "utf8") !== "pulumi\n") return 0;
        return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
      } catch {
        return 0; // It ended.
      }
    });
  return Math.round(Math.max(0, ...peaks) / 1024);
}
