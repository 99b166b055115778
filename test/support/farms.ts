/** Farms on a gateway of the lab by the tool alone, without engine and SSH: for tests of what the rules do. */

import { compile, type DataPlane, type FarmSpec, type TargetSpec } from "../../src/core";
import {
  applyCommand,
  installCommand,
  type Owner,
  removeCommand,
  retireCommand,
} from "../../src/host/commands";
import { toolText } from "../../src/host/tool";
import type { Gateway } from "./lab";

const OPTIONS = { sudo: false };

export function ownerOf(gateway: Gateway): Owner {
  return { project: "lab", stack: "test", gateway: gateway.name };
}

/** The tool on the gateway, which is ready for farms. @param prepare whose rules hold the lock on what is forwarded, and whether there is one */
export async function installTool(
  gateway: Gateway,
  prepare: { dataPlane: DataPlane; lockForward?: boolean } = { dataPlane: "nftables" },
): Promise<void> {
  await gateway.sh(installCommand(ownerOf(gateway), { ...OPTIONS, ...prepare }), { input: toolText() });
}

/** @returns what the tool said */
export async function applyFarm(
  gateway: Gateway,
  name: string,
  spec: FarmSpec,
  target: TargetSpec,
): Promise<string> {
  const { ruleSet } = compile(name, spec, target);
  return await gateway.sh(applyCommand(name, ownerOf(gateway), ruleSet, OPTIONS), { input: ruleSet });
}

export async function removeFarm(gateway: Gateway, name: string): Promise<string> {
  return await gateway.sh(removeCommand(name, ownerOf(gateway), OPTIONS));
}

export async function retire(gateway: Gateway): Promise<string> {
  return await gateway.sh(retireCommand(ownerOf(gateway), { ...OPTIONS, uninstall: true }));
}

/** Every way to carry a farm, for tests that hold for all of them. */
export const TARGETS: readonly (readonly [label: string, target: TargetSpec])[] = [
  ["nftables", { dataPlane: "nftables" }],
  ["iptables, layout nat", { dataPlane: "iptables" }],
  ["iptables, layout zevenet", { dataPlane: "iptables", layout: "zevenet" }],
];
