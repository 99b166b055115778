import type { ReadPin } from "./features";
import { sayCount } from "./lists";

/** Pins that differ; one that leads to another backend is in both. */
export interface PinChange {
  added: ReadPin[];
  removed: ReadPin[];
}

export function comparePins(before: readonly ReadPin[], after: readonly ReadPin[]): PinChange {
  const [old, now] = [new Set(before.map(identity)), new Set(after.map(identity))];
  return {
    added: after.filter((pin) => !old.has(identity(pin))),
    removed: before.filter((pin) => !now.has(identity(pin))),
  };
}

function identity({ first, last, backend }: ReadPin): string {
  return `${range({ first, last })} ${backend}`;
}

/** More changes than that are counted and not named. */
const NAMED = 3;

export function sayPins({ added, removed }: PinChange, total: number): string[] {
  const old = new Map(removed.map((pin) => [range(pin), pin.backend]));
  const now = new Set(added.map(range));
  const gone = removed.filter((pin) => !now.has(range(pin)));
  if (added.length + gone.length > NAMED) {
    const led = added.filter((pin) => old.has(range(pin))).length;
    const parts = [
      sayCount(added.length - led, "comes", "come"),
      sayCount(gone.length, "goes", "go"),
      sayCount(led, "leads elsewhere", "lead elsewhere"),
    ];
    return [`Pinned client networks: ${parts.filter((part) => part !== "").join(", ")}; ${total} in all.`];
  }
  return [
    ...added.map((pin) => {
      const before = old.get(range(pin));
      return `Clients ${range(pin)} are pinned to ${pin.backend}${before === undefined ? "" : ` instead of ${before}`}.`;
    }),
    ...gone.map((pin) => `Clients ${range(pin)} are no longer pinned to ${pin.backend}.`),
  ];
}

function range({ first, last }: Pick<ReadPin, "first" | "last">): string {
  return first === last ? first : `${first} to ${last}`;
}
