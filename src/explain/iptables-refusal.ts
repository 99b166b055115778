import type { IptRule } from "../iptables/ruleset";
import type { DropReason } from "./trace";

/** Why a connection is not let in that a rule sends back; undefined where the rule asks nothing of the kind. */
export function refusalOf({ chain, matches }: IptRule): DropReason | undefined {
  for (const match of matches) {
    switch (match.kind) {
      case "notSyn":
        return "noSyn";
      case "inSet":
        return "denied";
      case "notInSet":
        return "notAllowed";
      case "rateAbove":
        return match.of === "source" ? "sourceRate" : "rate";
      case "connectionsAbove":
        return isLeaf(chain) ? "backendConnections" : "connections";
    }
  }
  return undefined;
}

/** Whether a chain is one backend's: a farm's own chain has no dot in its name. */
export function isLeaf(chain: IptRule["chain"]): boolean {
  return typeof chain !== "string" && chain.own.includes(".");
}
