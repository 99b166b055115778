import type { ReadBackend, ReadFarm } from "./read";

/** Whether a new connection can come to a backend at all. The rules of one to which none can say nothing of its limit. */
export function isReached({ affinity, pins }: ReadFarm, { family, key, role }: ReadBackend): boolean {
  return (
    role === "active" ||
    (role === "drain" && affinity !== undefined) ||
    pins.some((pin) => pin.family === family && pin.backend === key)
  );
}

/** Where none can come to any backend, rules say nothing of much that a farm asks for, and nobody meets it. */
export function reachesAny(farm: ReadFarm): boolean {
  return farm.backends.some((backend) => isReached(farm, backend));
}
