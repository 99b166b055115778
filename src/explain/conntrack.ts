import type { Plan } from "../plan/plan";
import { hex } from "../spec/check";
import { SpecError } from "../spec/problem";
import type { Service } from "../spec/service";
import type { Arrival } from "./packet";
import type { Effect, End, Step } from "./trace";

/**
 * What connection tracking knows of a packet's connection before any rule is asked.
 *
 * @throws SpecError where an established connection's mark is no backend's
 */
export function recall(plan: Plan, packet: Arrival): { steps: Step[]; end: End } {
  const end: End = { dropped: false, translation: undefined, source: undefined, mark: packet.mark };
  const pool = plan.pools.find(({ family }) => family === packet.family);
  if (packet.state !== "established" || !pool?.services.some((service) => isTo(service, packet)))
    return { steps: [], end };
  const remember = (why: string, effect: Effect | undefined): Step => ({
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
      steps: [remember("its connection has no mark of the farm: it began untranslated", undefined)],
      end,
    };
  const backend = pool.backends.find((one) => one.mark === mark);
  if (!backend)
    throw new SpecError("packet", [
      {
        path: ["mark"],
        text:
          `${hex(packet.mark)} is no backend's mark, so where its first packet went cannot be told; give ` +
          `${pool.backends
            .slice(0, 3)
            .map((one) => `${hex(one.mark)} (${one.key})`)
            .join(", ")}` +
          `${pool.backends.length > 3 ? " …" : ""}, or leave it out`,
      },
    ]);
  const translation = { address: backend.address, port: backend.port };
  const source = sourceOf(plan, packet);
  const why = `its connection has mark ${hex(mark)}: it is translated as its first packet was`;
  const to = { address: backend.address, port: backend.port ?? packet.port };
  return { steps: [remember(why, { kind: "translate", to })], end: { ...end, translation, source } };
}

function isTo({ address, protocol, ports }: Service, packet: Arrival): boolean {
  if (address !== packet.destination) return false;
  if (protocol === "all") return true;
  const { port } = packet;
  return protocol === packet.protocol && port !== undefined && ports.from <= port && port <= ports.to;
}

function sourceOf({ sourceNat }: Plan, packet: Arrival): End["source"] {
  switch (sourceNat.kind) {
    case "none":
      return undefined;
    case "masquerade":
      return { kind: "masquerade" };
    case "vip":
      return { kind: "address", address: packet.destination };
    case "address":
      return { kind: "address", address: sourceNat.to.text };
    default:
      throw sourceNat satisfies never;
  }
}
