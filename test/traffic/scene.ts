/** A gateway that serves while a test changes its farms: load from all sides, and a watch that counts what goes astray. */

import type { FarmSpec, TargetSpec } from "../../src/core";
import { compile } from "../../src/core";
import { applyCommand } from "../../src/host/commands";
import { applyFarm, ownerOf, removeFarm } from "../support/farms";
import type { Lab } from "../support/lab";
import { type Carried, Load, type Streams } from "./load";
import type { Served } from "./random-farm";
import { CLEAN, type Seen, Watch } from "./watch";

/** An address of the gateway's own: what is not translated would reach the gateway itself. */
export const LOCAL = "203.0.113.10";
/** Nobody's address: what is not translated would be forwarded, back to the uplink. */
export const ROUTED = "203.0.113.11";
export const ROUTED6 = "2001:db8:a::10";

/** What clients dial all the time. */
export const SERVED: readonly Served[] = [
  { address: LOCAL, protocol: "tcp", port: 80 },
  { address: ROUTED, protocol: "tcp", port: 80 },
  { address: ROUTED, protocol: "udp", port: 53 },
  { address: ROUTED6, protocol: "tcp", port: 80 },
];

/** What every scene ends with. */
export const UNDISTURBED = { ...CLEAN, lost: [], slow: 0 };

export class Scene {
  private readonly members = new Map<string, readonly string[]>();
  private watch: Watch | undefined;
  private load: Load | undefined;

  constructor(private readonly lab: Lab) {}

  get gateway() {
    return this.lab.gateway();
  }

  /** Once all of `served` is served: from now on nothing may go astray. */
  async begin(served: readonly Served[] = SERVED): Promise<void> {
    const streams: Streams = Object.fromEntries(
      served.map(({ address, protocol, port }) => [
        `${protocol} ${address}`,
        { to: address, protocol, port },
      ]),
    );
    const own = served.some(({ address }) => address === LOCAL);
    this.watch = await Watch.start(this.gateway, [LOCAL, ROUTED, ROUTED6]);
    await this.watch.expectOnly(this.all());
    this.load = await Load.start(
      this.lab,
      streams,
      own ? { "the gateway's own": { to: LOCAL, port: 80, from: this.gateway.address() } } : {},
    );
  }

  async apply(name: string, spec: FarmSpec, target: TargetSpec): Promise<string> {
    await this.watch?.expectAlso(addressesOf(spec));
    const said = await applyFarm(this.gateway, name, spec, target);
    this.members.set(name, addressesOf(spec));
    await this.watch?.expectOnly(this.all());
    return said;
  }

  /** Begins an apply and kills it. @param group its children too */
  async killedApply(
    name: string,
    spec: FarmSpec,
    target: TargetSpec,
    { after, group }: { after: number; group: boolean },
  ): Promise<void> {
    const { ruleSet } = compile(name, spec, target);
    const command = applyCommand(name, ownerOf(this.gateway), ruleSet, { sudo: false });
    await this.watch?.expectAlso(addressesOf(spec));
    await this.gateway.write("/run/set", ruleSet);
    await this.gateway.write("/run/apply", `exec ${command}\n`);
    await this.gateway.sh(
      `setsid sh /run/apply </run/set >/dev/null 2>&1 & apply=$!
      sleep ${(after / 1000).toFixed(3)}
      kill -9 ${group ? "-$apply" : "$apply"} 2>/dev/null; wait $apply 2>/dev/null; :`,
    );
  }

  /** The farm's rules are gone, or another farm has them. */
  async remove(name: string): Promise<string> {
    const said = await removeFarm(this.gateway, name);
    this.members.delete(name);
    await this.watch?.expectOnly(this.all());
    return said;
  }

  async seen(): Promise<Seen> {
    return await this.watch!.seen();
  }

  /** Ends load, watch and farms, in this order. */
  async end(): Promise<Carried & Seen> {
    const { load, watch } = this;
    this.load = undefined;
    this.watch = undefined;
    const carried = await load!.stop();
    const seen = await watch!.end();
    for (const name of this.members.keys()) await removeFarm(this.gateway, name);
    this.members.clear();
    return { ...carried, ...seen };
  }

  /** After a test that failed on its way: leaves nothing to the next. */
  async close(): Promise<void> {
    await this.load?.stop();
    await this.watch?.end();
    for (const name of this.members.keys()) await this.gateway.try(`rm -f /etc/netfilter-lb/farms/${name}.*`);
    if (this.members.size > 0) await this.gateway.try("netfilter-lb restore");
  }

  private all(): string[] {
    return [...new Set([...this.members.values()].flat())];
  }
}

function addressesOf({ backends }: FarmSpec): string[] {
  return backends.map(({ address }) => address);
}
