import type { PlannedBackend } from "../plan/plan";
import type { IptRule } from "./ruleset";

/** Rules that hand each connection to a backend's leaf, and their chains, the root first. */
export interface Choice {
  chains: string[];
  rules: IptRule[];
}

/** Gives the chain of a backend's leaf. */
export type LeafOf = (backend: PlannedBackend) => string;
