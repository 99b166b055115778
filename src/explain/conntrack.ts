import type { Plan, PlannedBackend, Pool } from "../plan/plan";
import { hex } from "../spec/check";
import { holds, parsePrefix } from "../spec/prefix";
import { SpecError } from "../spec/problem";
import type { Service } from "../spec/service";
import type { Arrival } from "./packet";
import type { Effect, End, Step } from "./trace";

/** What connection tracking knows of a packet's connection before any rule is asked. */
export interface Recalled {
  steps: Step[];
  end: End;
  /** The packet: as a connection's first where its connection was forgotten. */
  packet: Arrival;
}

/** @throws SpecError where an established connection's mark is no backend's */
export function recall(plan: Plan, packet: Arrival): Recalled {
  const end = startOf(packet);
  const pool = plan.pools.find(({ family }) => family === packet.family);
  if (packet.state !== "established" || !pool?.services.some((service) => isTo(service, packet)))
    return { steps: [], end, packet };
  const say = (why: string, effect?: Effect): Step => ({
    hook: packet.from === "gateway" ? "output" : "prerouting",
    table: "conntrack",
    chain: "",
    rule: "",
    matched: effect !== undefined,
    why,
    effect,
  });
  const mark = (packet.mark & plan.markMask) >>> 0;
  if (mark === 0)
    return {
      steps: [say("its connection has no mark of the farm: it began untranslated")],
      end,
      packet,
    };
  const backend = backendOf(pool, packet, mark);
  // The tool deletes such entries when it applies the rules; UDP's in any case (docs/rule-set.md).
  if (backend.role === "down" && (plan.onRemoval === "cut" || packet.protocol === "udp")) {
    const first: Arrival = { ...packet, state: "new", mark: (packet.mark & ~plan.markMask) >>> 0 };
    return {
      steps: [say(`its connection was forgotten when ${backend.key} went down`)],
      end: startOf(first),
      packet: first,
    };
  }
  const translation = { address: backend.address, port: backend.port };
  const why = `its connection has mark ${hex(mark)}: it is translated as its first packet was`;
  const to = { address: backend.address, port: backend.port ?? packet.port };
  return {
    steps: [say(why, { kind: "translate", to })],
    end: { ...end, translation, source: sourceOf(plan, pool, packet) },
    packet,
  };
}

/** Of a packet that has met nothing yet. */
export function startOf({ mark }: Arrival): End {
  return { dropped: undefined, rejected: undefined, translation: undefined, source: undefined, mark };
}

function backendOf({ backends }: Pool, packet: Arrival, mark: number): PlannedBackend {
  const backend = backends.find((one) => one.mark === mark);
  if (backend) return backend;
  const known = backends.slice(0, 3).map((one) => `${hex(one.mark)} (${one.key})`);
  throw new SpecError("packet", [
    {
      path: ["mark"],
      text:
        `${hex(packet.mark)} is no backend's mark, so where its first packet went cannot be told; give ` +
        `${known.join(", ")}${backends.length > 3 ? " …" : ""}, or leave it out`,
    },
  ]);
}

function isTo({ address, protocol, ports }: Service, packet: Arrival): boolean {
  if (address !== packet.destination) return false;
  if (protocol === "all") return true;
  const { port } = packet;
  return protocol === packet.protocol && port !== undefined && ports.from <= port && port <= ports.to;
}

function sourceOf({ sourceNat }: Plan, { localNetworks }: Pool, packet: Arrival): End["source"] {
  switch (sourceNat.kind) {
    case "none":
      return undefined;
    case "masquerade":
      return { kind: "masquerade" };
    case "auto":
      return localNetworks.some((network) => holds(parsePrefix(network)!, packet.source))
        ? { kind: "masquerade" }
        : undefined;
    case "vip":
      return { kind: "address", address: packet.destination };
    case "address":
      return { kind: "address", address: sourceNat.to.text };
    default:
      throw sourceNat satisfies never;
  }
}
