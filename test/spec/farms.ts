import type { FarmSpec, TargetSpec } from "../../src/core";

/** The smallest farm, which the tables of this folder break in one place at a time. */
export const FARM: FarmSpec = {
  listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 80 }],
  backends: [{ address: "10.0.0.3" }, { address: "10.0.0.4" }],
};

export const NFTABLES: TargetSpec = { dataPlane: "nftables" };
export const NAT: TargetSpec = { dataPlane: "iptables" };
export const ZEVENET: TargetSpec = { dataPlane: "iptables", layout: "zevenet" };

/** Every kind of gateway, by the name that a test has. */
export const TARGETS: readonly (readonly [string, TargetSpec])[] = [
  ["nftables", NFTABLES],
  ["iptables nat", NAT],
  ["iptables zevenet", ZEVENET],
];
