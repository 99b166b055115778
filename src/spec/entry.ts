import { type Family, parseAddress } from "./address";
import type { BackendSpec, FarmSpec, ListenerSpec } from "./types";

/** A listener or backend that is right in itself, and where it stands. */
export interface Entry<T> {
  index: number;
  value: T;
}

/** Whether what stands at this path is right in itself and known. */
export type Soundness = (...path: (string | number)[]) => boolean;

/** What can be told of a farm in which some entries may be wrong or pending. */
export interface Known {
  spec: FarmSpec;
  sound: Soundness;
  /** Those that are sound. */
  listeners: Entry<ListenerSpec>[];
  backends: Entry<BackendSpec>[];
  /** Whether these are all that the farm has. */
  allListeners: boolean;
  allBackends: boolean;
}

export function knownOf(spec: FarmSpec, sound: Soundness): Known {
  const listeners = entries(spec.listeners, (i) => sound("listeners", i));
  const backends = entries(spec.backends, (i) => sound("backends", i));
  return {
    spec,
    sound,
    listeners,
    backends,
    allListeners: listeners.length === spec.listeners?.length,
    allBackends: backends.length === spec.backends?.length,
  };
}

export function entries<T>(list: T[] | undefined, sound: (index: number) => boolean): Entry<T>[] {
  return Array.isArray(list)
    ? list.map((value, index) => ({ index, value })).filter(({ index }) => sound(index))
    : [];
}

export function familyOf({ value }: Entry<{ address: string }>): Family {
  return parseAddress(value.address)!.family;
}

/** The families that some of these have, IPv4 first. */
export function familiesOf(list: readonly Entry<{ address: string }>[]): Family[] {
  return (["ip", "ip6"] as const).filter((family) => list.some((entry) => familyOf(entry) === family));
}

/** The entries whose key an earlier one has, each with that one. */
export function twice<T>(
  list: readonly Entry<T>[],
  key: (entry: Entry<T>) => unknown,
): [Entry<T>, Entry<T>][] {
  const first = new Map<unknown, Entry<T>>();
  return list.flatMap((entry): [Entry<T>, Entry<T>][] => {
    const earlier = first.get(key(entry));
    if (earlier) return [[entry, earlier]];
    first.set(key(entry), entry);
    return [];
  });
}
