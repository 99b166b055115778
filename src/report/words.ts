import { hex } from "../spec/check";
import type { Comparison, Difference } from "./comparison";
import { sayEstablished } from "./established";
import type { ReadFarm } from "./read";
import { sayShare } from "./share";

/** A comparison in plain sentences. */
export function say(change: Comparison["change"], difference: Difference): string[] {
  switch (change) {
    case "none":
      return ["Nothing changes."];
    case "rules":
      return ["The rules change, what they do to traffic does not."];
    case "created":
    case "removed":
      return [sayWhole(change, (difference.after ?? difference.before)!), ...sayDetails(difference)];
    case "traffic":
      return [...sayMoved(difference), ...saySettings(difference), ...sayDetails(difference)];
    default:
      throw change satisfies never;
  }
}

function sayWhole(change: "created" | "removed", farm: ReadFarm): string {
  const { dataPlane, algorithm, sourceNat } = farm;
  const how = [dataPlane, ...(algorithm === undefined ? [] : [algorithm]), `source NAT ${sourceNat}`];
  return `The farm is ${change}: ${[...how, ...(farm.interface === undefined ? [] : [`interface ${farm.interface}`])].join(", ")}.`;
}

function sayMoved({ before, after, moved, services: { added, removed } }: Difference): string[] {
  const entered = before?.interface === after?.interface ? "" : " that the farm balances before and after";
  return moved.map(({ services, fraction }) => {
    const some = services.length > 1 && added.length + removed.length > 0;
    const to = moved.length > 1 ? ` to ${services.join(", ")}` : some ? " to services that stay" : "";
    if (fraction.isZero()) return `New connections${to}${entered} are spread as before.`;
    if (fraction.numerator === fraction.denominator)
      return `All new connections${to}${entered} go to other backends than before.`;
    return `Of new connections${to}${entered}, ${sayShare(fraction)} go to another backend than before.`;
  });
}

function saySettings({ before, after }: Difference): string[] {
  if (!before || !after) return [];
  const settings: [string, string | undefined, string | undefined][] = [
    ["Data plane", before.dataPlane, after.dataPlane],
    ["Algorithm", before.algorithm ?? after.algorithm, after.algorithm ?? before.algorithm],
    ["Source NAT", before.sourceNat, after.sourceNat],
    ["Interface at which connections are balanced", before.interface ?? "any", after.interface ?? "any"],
  ];
  return settings
    .filter(([, old, now]) => old !== now)
    .map(([what, old, now]) => `${what}: ${old} → ${now}.`);
}

function sayDetails(difference: Difference): string[] {
  const { services, backends, moves } = difference;
  return [
    ...services.added.map((service) =>
      moves.from[service] === undefined
        ? `Service ${service} is added.`
        : `Service ${service} comes from farm ${moves.from[service]}.`,
    ),
    ...services.removed.map((service) =>
      moves.to[service] === undefined
        ? `Service ${service} is removed.`
        : `Service ${service} moves to farm ${moves.to[service]}.`,
    ),
    ...backends.flatMap(sayBackend),
    ...sayEstablished(difference),
  ];
}

function sayBackend({ key, before, after }: Difference["backends"][number]): string[] {
  if (!after) return [`Backend ${key} is removed; its share was ${sayShare(before!.share)}.`];
  if (!before) return [`Backend ${key} is added: share ${sayShare(after.share)}, mark ${hex(after.mark)}.`];
  return [
    ...(before.share.equals(after.share)
      ? []
      : [`Backend ${key}: share ${sayShare(before.share)} → ${sayShare(after.share)}.`]),
    ...(before.mark === after.mark ? [] : [`Backend ${key}: mark ${hex(before.mark)} → ${hex(after.mark)}.`]),
  ];
}
