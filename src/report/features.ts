import type { Farm, ReadFeatures } from "./comparison";
import type { ReadFarm } from "./read";

const NONE: ReadFeatures = {
  hash: {},
  affinity: undefined,
  pins: [],
  allow: undefined,
  deny: [],
  limits: { connections: undefined, rate: undefined, sourceRate: undefined },
  empty: {},
  onRemoval: "keep",
  looseTcp: undefined,
  helper: undefined,
  log: undefined,
  localNetworks: [],
};

/** What a reader does not tell yet, a farm does not have. */
export function withFeatures(farm: ReadFarm): Farm {
  return {
    ...NONE,
    ...farm,
    backends: farm.backends.map((backend) => ({ role: "active", maxConnections: undefined, ...backend })),
  };
}
