import { Fraction } from "../plan/fraction";
import { sayForgotten } from "./affinity";
import { changesTier, sayBackends } from "./backends";
import type { Comparison } from "./comparison";
import type { Difference } from "./difference";
import { sayEmpty } from "./empty";
import { sayEstablished } from "./established";
import type { Moved } from "./moved";
import type { ReadFarm } from "./read";
import { saySettings, sayUnusual } from "./settings";
import { sayShare } from "./share";

/** A comparison in plain sentences. */
export function say(change: Comparison["change"], difference: Difference): string[] {
  const { before, after } = difference;
  switch (change) {
    case "none":
      return ["Nothing changes."];
    case "rules":
      return ["The rules change, what they do to traffic does not."];
    case "created":
    case "removed":
      return [
        sayWhole(change, (after ?? before)!),
        ...sayEmpty(difference),
        ...(after ? sayUnusual(after) : []),
        ...sayDetails(change, difference),
      ];
    case "traffic":
      return [
        ...sayEmpty(difference),
        ...sayMoved(difference),
        ...(changesTier(difference) ? ["Another tier of backends carries new connections."] : []),
        ...sayForgotten(difference),
        ...saySettings(difference),
        ...sayDetails(change, difference),
      ];
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
  return moved.map((one) => {
    const some = one.services.length > 1 && added.length + removed.length > 0;
    const to = moved.length > 1 ? ` to ${one.services.join(", ")}` : some ? " to services that stay" : "";
    const kind = KINDS[one.of];
    const what = `${kind.what}${to === "" ? "" : kind.at}${to}${entered}`;
    if (one.anew) return `${sayAnew(what, hashes(before!), hashes(after!))}.`;
    if (one.fraction.isZero()) return `${what[0]!.toUpperCase()}${what.slice(1)} ${kind.none}.`;
    if (one.fraction.equals(Fraction.ONE)) return `All ${what} ${kind.all}.`;
    return `Of ${what}, ${sayShare(one.fraction)} ${kind.some}.`;
  });
}

/** `at` leads to the services of those that do not go to services themselves. */
const KINDS: Record<Moved["of"], Record<"what" | "at" | "none" | "all" | "some", string>> = {
  connections: {
    what: "new connections",
    at: "",
    none: "are spread as before",
    all: "go to other backends than before",
    some: "go to another backend than before",
  },
  clients: {
    what: "clients",
    at: " that connect",
    none: "find the same backend as before",
    all: "find another backend than before",
    some: "find another backend than before",
  },
  flows: {
    what: "new flows",
    at: "",
    none: "find the same backend as before",
    all: "find another backend than before",
    some: "find another backend than before",
  },
};

function sayAnew(what: string, before: boolean, after: boolean): string {
  if (!after) return `All ${what} are spread anew, and not by a hash any more`;
  const how = before ? "by another hash" : "by a hash";
  return `All ${what} are spread anew, ${how}: where they went before tells nothing of where they go now`;
}

function hashes({ hash }: ReadFarm): boolean {
  return hash.ip !== undefined || hash.ip6 !== undefined;
}

function sayDetails(change: Comparison["change"], difference: Difference): string[] {
  const { services, moves } = difference;
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
    ...sayBackends(change, difference),
    ...sayEstablished(difference),
  ];
}
