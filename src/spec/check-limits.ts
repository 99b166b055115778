import type { Known } from "./entry";
import type { Problem } from "./problem";

/** Limits that limit nothing. */
export function checkLimits({ spec, sound }: Known): Problem[] {
  const { limits } = spec;
  if (limits === undefined || !sound("limits")) return [];
  if (Object.values(limits).every((value) => value === undefined))
    return [
      {
        path: ["limits"],
        text: "is empty; give maxConnections, newConnectionsPerSecond or perSource, or leave it out",
      },
    ];
  if (limits.burst === undefined || limits.newConnectionsPerSecond !== undefined) return [];
  return [
    {
      path: ["limits", "burst"],
      text: `${limits.burst} goes with newConnectionsPerSecond; give that too, or leave the field out`,
    },
  ];
}
