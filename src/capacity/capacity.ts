import { makePlan, type Plan } from "../plan/plan";
import { assertCapacity } from "../spec";
import type { CapacityGatewaySpec, FarmSpec } from "../spec/types";
import { type ConntrackCapacity, conntrackOf, conntrackWarnings } from "./conntrack";
import { limitWarnings } from "./limits";
import { loadOf } from "./load";
import { memoryWarnings } from "./memory";
import { planeWarnings } from "./plane";
import { type SetCapacity, setsOf, setWarnings } from "./sets";
import { type ShareCapacity, sharesOf, shareWarnings } from "./shares";
import { type SourcePortCapacity, sourcePortsOf, sourcePortWarnings } from "./source-ports";
import type { CapacityWarning } from "./warning";

/** What one gateway can carry of a farm. Farms that share a gateway share its connection tracking and memory. */
export interface Capacity {
  conntrack: ConntrackCapacity;
  /** For each active backend and protocol, where the gateway puts an address of its own in the place of the client's. */
  sourcePorts: SourcePortCapacity[];
  sets: SetCapacity[];
  /** With a hash: each active backend's share. */
  shares: ShareCapacity[];
  warnings: CapacityWarning[];
}

/**
 * Works out how much of a farm one gateway can carry, and what it will run short of.
 *
 * What is not said of the machine and its load is taken as the kernel has it by default. Warnings that depend on the load
 * come only where `newConnectionsPerSecond` is given.
 *
 * @param name as `compile` takes it
 * @param gateway as in the farm's `gateways`: `dataPlane`, `layout`, `interface`, `markMask`, `capacity`
 * @throws SpecError with every problem of name, farm and gateway
 */
export function capacity(name: string, spec: FarmSpec, gateway: CapacityGatewaySpec): Capacity {
  assertCapacity(name, spec, gateway);
  return capacityOf(makePlan(name, spec, gateway), spec, gateway);
}

/** The same of a farm that is checked and worked out already. */
export function capacityOf(plan: Plan, spec: FarmSpec, gateway: CapacityGatewaySpec): Capacity {
  const machine = gateway.capacity ?? {};
  const load = loadOf(machine);
  const conntrack = conntrackOf(plan, machine, load);
  const sourcePorts = sourcePortsOf(plan, load);
  const sets = setsOf(plan, gateway.dataPlane);
  return {
    conntrack,
    sourcePorts,
    sets,
    shares: sharesOf(plan),
    warnings: [
      ...shareWarnings(plan, spec),
      ...planeWarnings(plan, gateway),
      ...conntrackWarnings(conntrack, load),
      ...memoryWarnings(machine, conntrack, sets),
      ...sourcePortWarnings(sourcePorts, plan, load),
      ...setWarnings(plan, gateway.dataPlane, load),
      ...limitWarnings(plan, spec, machine, conntrack, load),
    ],
  };
}
