import { FAMILY_NAME, parseAddress } from "./address";
import { backendKey, canonicalKey, parseKey } from "./check";
import { type Entry, entries, type Known, twice } from "./entry";
import { parsePrefix } from "./prefix";
import { type Problem, show } from "./problem";
import type { PinSpec } from "./types";

/** What pins contradict. One to a backend that is down is right: its clients are then spread like the others. */
export function checkPins({ spec, sound, backends, allBackends }: Known): Problem[] {
  const pins = entries(spec.pins, (i) => sound("pins", i));
  const keys = new Set(backends.map(({ value }) => backendKey(value)));
  const remedy = remedyFrom([...keys]);
  const unknown = allBackends ? pins.filter(({ value }) => !keys.has(canonicalKey(value.backend)!)) : [];
  return [
    ...unknown.map(({ index, value }) => ({
      path: ["pins", index, "backend"],
      text: `${show(value.backend)} is no backend of this farm; ${remedy(value.backend)}`,
    })),
    ...pins.flatMap(checkFamily),
    ...twice(pins, ({ value }) => parsePrefix(value.source)!.text).map(([entry, first]) => ({
      path: ["pins", entry.index, "source"],
      text: `"${entry.value.source}" is the source of pins[${first.index}] already; pin each network once`,
    })),
  ];
}

function checkFamily({ index, value }: Entry<PinSpec>): Problem[] {
  const { family } = parseAddress(parseKey(value.backend)!.address)!;
  const source = parsePrefix(value.source)!.family;
  if (source === family) return [];
  return [
    {
      path: ["pins", index, "source"],
      text:
        `"${value.source}" is ${FAMILY_NAME[source]}, but the backend is ${FAMILY_NAME[family]}; ` +
        "a connection stays in its family",
    },
  ];
}

/** Where only the port is wrong, the backends that were probably meant. */
function remedyFrom(keys: readonly string[]): (wrong: string) => string {
  const addressOf = (key: string) => parseAddress(parseKey(key)!.address)!.text;
  const byAddress = new Map<string, string[]>();
  for (const key of keys) byAddress.set(addressOf(key), [...(byAddress.get(addressOf(key)) ?? []), key]);
  return (wrong) => {
    const meant = byAddress.get(addressOf(wrong));
    if (!meant) return `there are ${few(keys)}`;
    if (parseKey(wrong)!.port === undefined) return `write its port too: ${few(meant)}`;
    const plain = meant.find((key) => parseKey(key)!.port === undefined);
    return plain ? `it has no port of its own: write ${plain}` : `there is ${few(meant)}`;
  };
}

function few(keys: readonly string[]): string {
  const shown = keys.slice(0, 4).join(", ");
  return keys.length > 4 ? `${shown} and ${keys.length - 4} more` : shown;
}
