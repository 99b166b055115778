import { type FarmSpec, Helper } from "../../src/core";
import { FARM } from "../spec/farms";
import type { Memory, Packet } from "./packet";

/** Farms and packets for which the data planes once did not mean the same, as small as they could be made. */

export interface Found {
  spec: FarmSpec;
  packet?: Partial<Packet>;
  memory?: Memory;
}

const MARK = 0x77;
const affinity = { by: "sourceIp", timeoutSeconds: 60 } as const;
const remembered: Memory = { affinity: new Map([["192.0.2.77", MARK]]) };

export const FOUND: Record<string, Found> = {
  "the kernel calls the helper of H.323 Q.931, and iptables refused the whole rule set": {
    spec: { ...FARM, helper: Helper.H323 },
  },
  "a backend that stands by is pinned to others: whom it remembers is given another": {
    spec: {
      ...FARM,
      backends: [...FARM.backends, { address: "10.0.0.5", priority: 1, mark: MARK }],
      pins: [{ source: "198.51.100.0/24", backend: "10.0.0.5" }],
      affinity,
    },
    memory: remembered,
  },
};
