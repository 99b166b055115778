import type { BackendSpec, FarmSpec, Plan } from "../../src/core";
import { isWithin, numberOf } from "./network";
import {
  clientOf,
  flagBits,
  type Memory,
  NO_TRACES,
  type Outcomes,
  type Packet,
  translatedTo,
  withTraces,
} from "./packet";
import { Rational } from "./rational";

/**
 * What a farm promises to a packet, from what its user wrote (src/spec/types.ts) and nothing of what a data plane does. Only
 * the marks, and the slots of a hash, which have tests of their own, are those of the plan.
 */
export function promisedTo(spec: FarmSpec, plan: Plan, packet: Packet, memory: Memory): Outcomes {
  const { outcome, traces } = admit(spec, plan, packet, memory);
  if (outcome !== undefined) return new Map([[withTraces(outcome, traces), Rational.ONE]]);

  const v6 = packet.address.includes(":");
  const pool = plan.pools.find(({ family }) => (family === "ip6") === v6)!;
  const backends = spec.backends
    .filter(({ address }) => address.includes(":") === v6)
    .map((backend, i) => ({ ...backend, mark: pool.backends[i]!.mark }));
  const client = clientOf(packet, spec.affinity?.by ?? "sourceIp");
  const known = spec.affinity && memory.affinity?.get(client);

  const outcomes: Outcomes = new Map();
  const add = (said: string, part: Rational) =>
    outcomes.set(said, (outcomes.get(said) ?? Rational.ZERO).plus(part));
  for (const [backend, part] of choices()) {
    if (!backend) {
      const rejected = packet.protocol === "tcp" ? "rejected tcp-reset" : "rejected port-unreachable";
      add(withTraces(spec.whenEmpty === "drop" ? "dropped" : rejected, traces), part);
    } else if ((memory.backendConnections?.get(backend.mark) ?? 0) + 1 > (backend.maxConnections ?? Infinity))
      add(withTraces("dropped", traces), part);
    else {
      const { address, port = packet.port, mark } = backend;
      const connmark = ((packet.connmark ?? 0) | mark) >>> 0;
      const remembered = spec.affinity && { client, mark };
      const outcome = translatedTo(address, port, connmark, sourceOf(spec, packet));
      add(
        withTraces(outcome, {
          ...traces,
          helper: (spec.helper && HELPER[spec.helper]) ?? spec.helper,
          remembered,
        }),
        part,
      );
    }
  }
  return outcomes;

  /** The backends that it may find, each with its chance; none where none is active. */
  function choices(): (readonly [backend: (BackendSpec & { mark: number }) | undefined, part: Rational])[] {
    const pinned = pinOf(spec, packet);
    const byPin = backends.find((one) => keyOf(one) === pinned && one.state !== "down");
    if (byPin) return [[byPin, Rational.ONE]];
    const carrying = carryingOf(spec, backends);
    const byMemory = backends.find(
      (one) => one.mark === known && (carrying.includes(one) || one.state === "drain"),
    );
    if (byMemory) return [[byMemory, Rational.ONE]];
    if (carrying.length === 0) return [[undefined, Rational.ONE]];
    if (pool.slots) {
      const slots = pool.slots;
      const count = (i: number) => slots.filter((index) => index === i).length;
      // One may have none: a small weight among few slots.
      return carrying.flatMap((one, i) =>
        count(i) === 0 ? [] : [[one, Rational.of(count(i), slots.length)] as const],
      );
    }
    const total = carrying.reduce((sum, { weight = 1 }) => sum + weight, 0);
    return carrying.map((one) => [one, Rational.of(one.weight ?? 1, total)]);
  }
}

/** What the kernel calls a helper that has another name (nf_conntrack_h323_main.c). */
const HELPER: Record<string, string> = { h323: "Q.931" };

/** Whether a connection comes to the choice, and what it leaves behind on the way. */
function admit(
  { deny, allow, limits, log, looseTcp }: FarmSpec,
  { shortName }: Plan,
  packet: Packet,
  memory: Memory,
) {
  const traces = { ...NO_TRACES, took: [] as string[] };
  const has = (list: readonly string[] | undefined) =>
    list?.some((one) => one.includes(":") === packet.source.includes(":") && isWithin(packet.source, one));
  const dropped = { outcome: "dropped", traces };
  if (packet.invalid) return dropped;
  const begins =
    (flagBits(packet.flags ?? ["syn"]) & flagBits(["fin", "syn", "rst", "ack"])) === flagBits(["syn"]);
  if (packet.protocol === "tcp" && !looseTcp && !begins) return dropped;
  if (has(deny) || (allow && !has(allow))) return dropped;
  for (const [bucket, limit, taken] of [
    ["source", limits?.perSource, memory.recent?.sources?.get(packet.source)],
    ["farm", limits, memory.recent?.farm],
  ] as const) {
    if (limit?.newConnectionsPerSecond === undefined) continue;
    if ((taken ?? 0) >= (limit.burst ?? limit.newConnectionsPerSecond)) return dropped;
    traces.took.push(bucket);
  }
  if ((memory.connections ?? 0) + 1 > (limits?.maxConnections ?? Infinity)) return dropped;
  const logged =
    log && (memory.recent?.log ?? 0) < (log.burst ?? 5) ? (log.prefix ?? `${shortName}:`) : undefined;
  return { outcome: undefined, traces: { ...traces, logged } };
}

function keyOf({ address, port }: BackendSpec): string {
  if (port === undefined) return address;
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The backend of the longest pin that holds the source and whose backend is not down. */
function pinOf({ pins = [], backends }: FarmSpec, { source }: Packet): string | undefined {
  const length = (text: string) => Number(text.split("/")[1] ?? 128);
  return pins
    .filter((pin) => pin.source.includes(":") === source.includes(":") && isWithin(source, pin.source))
    .filter((pin) => backends.some((one) => keyOf(one) === pin.backend && one.state !== "down"))
    .sort((a, b) => length(b.source) - length(a.source))[0]?.backend;
}

/** The active members of the first tier that has enough; where none has, of the first that has any. */
function carryingOf<B extends BackendSpec>({ minActive = 1 }: FarmSpec, backends: readonly B[]): B[] {
  const active = backends.filter(({ state = "active" }) => state === "active");
  const tiers = [...new Set(active.map(({ priority = 0 }) => priority))]
    .sort((a, b) => a - b)
    .map((tier) => active.filter(({ priority = 0 }) => priority === tier));
  return tiers.find((members) => members.length >= minActive) ?? tiers[0] ?? [];
}

function sourceOf(
  { sourceNat = "none", localNetworks, backends }: FarmSpec,
  { source, address }: Packet,
): string {
  if (sourceNat === "vip") return address;
  if (sourceNat !== "auto") return sourceNat;
  const v6 = source.includes(":");
  const sameFamily = (one: string) => one.includes(":") === v6;
  const local = localNetworks
    ? localNetworks.filter(sameFamily).some((network) => isWithin(source, network))
    : backends
        .filter((backend) => sameFamily(backend.address))
        .some((backend) => {
          const shift = v6 ? 64n : 8n;
          return numberOf(backend.address) >> shift === numberOf(source) >> shift;
        });
  return local ? "masquerade" : "none";
}
