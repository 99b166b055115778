/** Farms that differ from one another in every way that a user can write, and that all serve the same streams. */

import type { BackendSpec, FarmSpec, ListenerSpec } from "../../src/core";

/** Numbers from 0 up to 1, always the same ones for a seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface Served {
  readonly address: string;
  readonly protocol: "tcp" | "udp";
  readonly port: number;
}

export interface RandomFarmOptions {
  /** What every farm serves, in one form or the other. */
  readonly served: readonly Served[];
  /** The first one of each family is a member of every farm. */
  readonly backends: readonly string[];
  /** The other port that backends answer on. */
  readonly otherPort: number;
  readonly random: () => number;
}

/** An endless series. One farm differs from the one before in everything, or in one part only. */
export function* randomFarms(options: RandomFarmOptions): Generator<FarmSpec, never> {
  const { random } = options;
  let parts = draw(options);
  for (;;) {
    yield specOf(parts, options);
    const next = draw(options);
    const which = Math.floor(random() * 8);
    const [key] = Object.keys(parts).slice(which, which + 1) as (keyof Parts)[];
    parts = key ? { ...parts, [key]: next[key] } : next;
  }
}

interface Parts {
  members: readonly BackendSpec[];
  listeners: readonly ListenerSpec[];
  extra: readonly ListenerSpec[];
  algorithm: NonNullable<FarmSpec["algorithm"]>;
  sourceNat: string;
}

function specOf(
  { members, listeners, extra, algorithm, sourceNat }: Parts,
  options: RandomFarmOptions,
): FarmSpec {
  // With "all" there is no port to translate.
  const any = listeners.some(({ protocol }) => protocol === "all");
  return {
    algorithm,
    sourceNat,
    listeners: [...listeners, ...extra.filter(({ address }) => !covered(address, listeners, options))],
    backends: members.map(({ port, ...backend }) => ({ ...backend, ...(port && !any && { port }) })),
  };
}

/** Whether an extra listener could overlap: extras use high ports and addresses without "every port" only. */
function covered(
  address: string,
  listeners: readonly ListenerSpec[],
  { served }: RandomFarmOptions,
): boolean {
  const wide = (listener: ListenerSpec) => listener.port === undefined && listener.ports === undefined;
  return listeners.some((listener) => listener.address === address && wide(listener)) || served.length === 0;
}

function draw({ served, backends, otherPort, random }: RandomFarmOptions): Parts {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const chance = (p: number) => random() < p;
  const firsts = [backends.find((a) => !a.includes(":")), backends.find((a) => a.includes(":"))];
  const members = backends
    .filter((address) => firsts.includes(address) || chance(0.6))
    .map((address) => ({
      address,
      weight: pick([1, 1, 2, 3, 5]),
      // The constant members stay what they are, so that connections to them have a backend that is kept.
      ...(!firsts.includes(address) && chance(0.2) && { port: otherPort }),
    }));

  const addresses = [...new Set(served.map(({ address }) => address))];
  const listeners = addresses.flatMap((address): ListenerSpec[] => {
    const own = served.filter((each) => each.address === address);
    if (chance(0.12)) return [{ address, protocol: "all" }];
    return own.map(({ protocol, port }) => ({
      address,
      protocol,
      ...pick([
        { port },
        { ports: `${port},${port + 400}` },
        { ports: `${port - 5}-${port + pick([0, 5, 40])}` },
        { ports: `1-${port},1000-1010` },
        {},
      ]),
    }));
  });
  const extra = addresses
    .filter(() => chance(0.4))
    .map(
      (address) => ({ address, protocol: "tcp", ...pick([{ port: 9443 }, { ports: "9000-9100" }]) }) as const,
    );
  return {
    members,
    listeners,
    extra,
    algorithm: pick(["random", "roundRobin"] as const),
    sourceNat: pick(["none", "masquerade", "vip"]),
  };
}
