/** The same traffic through every way to carry a farm: one lab, in which each way has a gateway and clients of its own. */

import { afterAll, afterEach, beforeAll, describe } from "vitest";
import type { FarmSpec, TargetSpec } from "../../src/core";
import { parseAddress } from "../../src/spec/address";
import { applyFarm, installTool, removeFarm } from "../support/farms";
import {
  type ConnectOptions,
  type ConnectResult,
  type Gateway,
  type HeldConnection,
  Lab,
  type ServeOptions,
  type Target,
} from "../support/lab";
import type { Family } from "../support/lab/addresses";

export const VIP = "203.0.113.10";
export const VIP6 = "2001:db8:a::10";

interface Way {
  readonly label: string;
  readonly iptables: "nft" | "legacy";
  readonly target: TargetSpec;
}

const WAYS: readonly Way[] = [
  { label: "nftables", iptables: "nft", target: { dataPlane: "nftables" } },
  { label: "iptables-nft", iptables: "nft", target: { dataPlane: "iptables" } },
  { label: "iptables-legacy", iptables: "legacy", target: { dataPlane: "iptables" } },
  { label: "zevenet", iptables: "nft", target: { dataPlane: "iptables", layout: "zevenet" } },
];

/** Layout zevenet has no hashes, affinity, pins, limits and lists. */
export const ALL = ["nftables", "iptables-nft", "iptables-legacy", "zevenet"];
export const ALL_BUT_ZEVENET = ALL.slice(0, 3);

export interface PlaneOptions {
  /** By label. */
  readonly planes: readonly string[];
  /** How many, of each family. */
  readonly backends: number;
  readonly serve: ServeOptions;
  /** All planes at the same time, for tests that mostly wait. The tests of one plane still follow one another. */
  readonly together?: boolean;
}

/** A lab with a gateway for each of the planes. */
export async function startPlanes(
  options: PlaneOptions,
): Promise<{ planes: Plane[]; close: () => Promise<void> }> {
  const ways = waysOf(options);
  const lab = await Lab.create({
    gateways: ways.map(({ label, iptables }) => ({ name: label, iptables })),
    backends: options.backends,
  });
  for (const { label, target } of ways) await installTool(lab.gateway(label), target);
  await lab.backends.serve(options.serve);
  return {
    planes: ways.map(({ label, target }) => new Plane(label, target, () => lab)),
    close: () => lab.close(),
  };
}

/** Declares the same tests for each plane; what they leave on its gateway goes after each. */
export function eachPlane(options: PlaneOptions, tests: (plane: Plane) => void): void {
  let started: Awaited<ReturnType<typeof startPlanes>> | undefined;
  beforeAll(async () => {
    started = await startPlanes(options);
  });
  afterAll(() => started?.close());

  const declare = ({ label, target }: Way) => {
    const plane = new Plane(label, target, () => started!.planes[0]!.lab);
    afterEach(() => plane.clear());
    tests(plane);
  };
  if (!options.together) describe.each(waysOf(options))("$label", declare);
  else
    describe.concurrent.each(waysOf(options))("$label", (way) => {
      describe.sequential("at its gateway", () => declare(way));
    });
}

function waysOf({ planes }: PlaneOptions): Way[] {
  return WAYS.filter(({ label }) => planes.includes(label));
}

export class Plane {
  private readonly farms = new Set<string>();
  private readonly held: HeldConnection[] = [];

  constructor(
    readonly label: string,
    readonly target: TargetSpec,
    private readonly made: () => Lab,
  ) {}

  get lab(): Lab {
    return this.made();
  }

  get gateway(): Gateway {
    return this.lab.gateway(this.label);
  }

  /** The client address that connections come from which name none. */
  from(family: Family = 4): string {
    return parseAddress(this.lab.clientAddress(this.label, family))!.text;
  }

  /** The backends' IPv4 addresses. */
  get backends(): string[] {
    return this.lab.backends4;
  }

  /** Client addresses that go through this gateway. @param first how many to leave out */
  clients(count: number, { first = 0, family = 4 }: { first?: number; family?: Family } = {}): string[] {
    return this.lab.clientAddresses(this.label, first + count, family).slice(first);
  }

  /** Applies a farm that listens at the virtual IP, port 80 of tcp and port 53 of udp, with all IPv4 backends. */
  async apply(
    spec: Partial<FarmSpec> = {},
    name = "web",
    target: Pick<TargetSpec, "markMask"> = {},
  ): Promise<FarmSpec> {
    const whole: FarmSpec = {
      listeners: [
        { address: VIP, protocol: "tcp", port: 80 },
        { address: VIP, protocol: "udp", port: 53 },
      ],
      backends: this.backends.map((address) => ({ address })),
      ...spec,
    };
    this.farms.add(name);
    await applyFarm(this.gateway, name, whole, { ...this.target, ...target });
    return whole;
  }

  async remove(name = "web"): Promise<void> {
    this.farms.delete(name);
    await removeFarm(this.gateway, name);
  }

  /** Connections to the virtual IP's port 80 (udp: 53), one for each of the clients, or from one client. */
  connect(options: Partial<ConnectOptions> = {}): Promise<ConnectResult> {
    const { fromEach, protocol = "tcp" } = options;
    return this.lab.client.connect({
      to: VIP,
      port: PORTS[protocol],
      ...(fromEach ? { count: fromEach.length } : { from: this.from() }),
      ...options,
    });
  }

  /** Where a client is served: client address → backend address. Nobody may be lost, nobody be served by two. */
  async served(fromEach: readonly string[], options: Partial<ConnectOptions> = {}): Promise<Served> {
    const { answers, lost, failures } = await this.connect({ fromEach, ...options });
    if (lost > 0) throw new Error(`${lost} connections were lost: ${JSON.stringify(failures)}`);
    const served = new Map<string, string>();
    for (const { source, address } of answers) {
      const before = served.get(source);
      if (before !== undefined && before !== address)
        throw new Error(`client ${source} was served by ${before} and by ${address}`);
      served.set(source, address);
    }
    return served;
  }

  /** A connection that stays open; it is closed after the test. One of TCP that fails does not go on dialling. */
  async hold(options: Partial<Target> = {}): Promise<HeldConnection> {
    const { protocol = "tcp" } = options;
    const held = await this.lab.client.open({
      to: VIP,
      port: PORTS[protocol],
      from: this.from(),
      ...options,
    });
    if (protocol === "tcp" && "failure" in held.first) await held.close();
    else this.held.push(held);
    return held;
  }

  /** One that a certain backend serves. */
  async holdAt(backend: string, options: Partial<Target> = {}): Promise<HeldConnection> {
    for (let tries = 0; tries < 200; tries++) {
      const held = await this.hold(options);
      if (addressOf(held.first) === backend) return held;
      await held.close();
    }
    throw new Error(`no connection found ${backend}`);
  }

  /** Forgets farms and connections. */
  async clear(): Promise<void> {
    for (const held of this.held.splice(0)) await held.close();
    for (const name of [...this.farms]) await this.remove(name);
    await this.gateway.sh("conntrack -F 2>/dev/null");
  }
}

export type Served = ReadonlyMap<string, string>;

const PORTS = { tcp: 80, udp: 53 };

/** The backend that answered, or how it failed. */
export function addressOf(answer: HeldConnection["first"]): string {
  return "failure" in answer ? answer.failure : answer.address;
}

/** How many clients each backend serves, in the order of the backends. */
export function countOf(served: Served, backends: readonly string[]): number[] {
  return backends.map((backend) => [...served.values()].filter((address) => address === backend).length);
}

/** Clients that another backend serves than before, of those that were seen again. */
export function movedBetween(before: Served, after: Served): string[] {
  return [...after].flatMap(([client, backend]) => (before.get(client) === backend ? [] : [client]));
}
