/** Something that was right, and is so no longer; or still is, by chance. */

import fc from "fast-check";

/** Names that mean something to every object of JavaScript, and other values that nobody foresaw. */
const ODD_KEYS = [
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "length",
  "0",
  "",
  "then",
  "a\nb",
  "é",
];
const ODD_VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  2 ** 53,
  "",
  "0",
  "\0",
  "__proto__",
  "10.0.0.3",
  "10.0.0.3:80",
  "[2001:db8::3]:80",
  "::ffff:10.0.0.3",
  "0.0.0.0/0",
  "::/0",
  "fe80::1%eth0",
  "1-65535",
  "80,,443",
  "x".repeat(1000),
  [],
  {},
  [[]],
  { __proto__: null, address: "10.0.0.3" },
  JSON.parse('{ "__proto__": { "polluted": true } }'),
];

/** One change somewhere in a JSON value. The numbers choose: of the places there are, of what is done there, and with what. */
interface Change {
  place: number;
  deed: "replace" | "remove" | "add" | "double" | "wrap" | "elsewhere";
  what: number;
  value: unknown;
}

const anyChange: fc.Arbitrary<Change> = fc.record({
  place: fc.nat(),
  deed: fc.constantFrom("replace", "remove", "add", "double", "wrap", "elsewhere"),
  what: fc.nat(),
  value: fc.oneof(fc.constantFrom(...ODD_VALUES), fc.jsonValue({ maxDepth: 2 })),
});

/** A JSON value with one to four changes, and no thread back to what it was. */
export function mutated<T>(right: fc.Arbitrary<T>): fc.Arbitrary<unknown> {
  return fc
    .tuple(right, fc.array(anyChange, { minLength: 1, maxLength: 4 }))
    .map(([value, changes]) => changes.reduce<unknown>(changed, JSON.parse(JSON.stringify(value))));
}

type Holder = Record<string, unknown>;

function changed(root: unknown, { place, deed, what, value }: Change): unknown {
  const places = placesIn(root);
  if (places.length === 0) return value;
  const { holder, key } = places[place % places.length]!;
  switch (deed) {
    case "replace":
      set(holder, key, value);
      break;
    case "remove":
      if (Array.isArray(holder)) holder.splice(Number(key), 1);
      else delete holder[key];
      break;
    case "add":
      if (Array.isArray(holder)) holder.splice(what % (holder.length + 1), 0, value);
      else set(holder, ODD_KEYS[what % ODD_KEYS.length]!, value);
      break;
    case "double":
      if (Array.isArray(holder)) holder.push(JSON.parse(JSON.stringify(holder[Number(key)] ?? null)));
      else set(holder, `${key}2`, holder[key]);
      break;
    case "wrap":
      set(holder, key, what % 2 === 0 ? [holder[key]] : { value: holder[key] });
      break;
    case "elsewhere": {
      // A copy, since a part that holds itself is no JSON.
      const other = places[what % places.length]!;
      set(holder, key, JSON.parse(JSON.stringify(other.holder[other.key] ?? null)));
      break;
    }
  }
  return root;
}

/** As `JSON.parse` does it: `__proto__` is a field like others. */
function set(holder: Holder, key: string, value: unknown): void {
  Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true });
}

function placesIn(value: unknown): { holder: Holder; key: string }[] {
  if (typeof value !== "object" || value === null) return [];
  const holder = value as Holder;
  return Object.keys(holder).flatMap((key) => [{ holder, key }, ...placesIn(holder[key])]);
}

/** Words that rule sets are made of, and some that they must never be made of. */
const WORDS = [
  ..."{ } ; # \" ' \\ ! | & . : , - * @ $ ` ( ) < > \t \r".split(" "),
  ..."accept drop jump goto return queue dnat snat masquerade redirect fwd dup tproxy flow reject".split(" "),
  ..."chain map set table element add delete flush rename include define type hook policy counter log".split(
    " ",
  ),
  ..."ip ip6 inet netfilter_lb theirs services guarded ranges sources translate guard web db web.farm db.farm".split(
    " ",
  ),
  ..."web.farm.source translate output 0x1 0xffffffff 22 80 443 0-65535 65536 10.0.0.3 10.0.0.9 203.0.113.10".split(
    " ",
  ),
  ..."203.0.113.11 2001:db8::3 0.0.0.0/0 tcp udp all meta mark ct daddr saddr dport iifname eth0 numgen jhash".split(
    " ",
  ),
  ..."-A -I -D -N -X -F -P -j -g -m -p -d -s -i -o --dport --ctorigdst --set-xmark --match-set --add-set".split(
    " ",
  ),
  ..."ACCEPT DROP RETURN DNAT SNAT MARK CONNMARK LOG SET CT TPROXY NFQUEUE REDIRECT".split(" "),
  ..."INPUT OUTPUT FORWARD PREROUTING NFLB-web NFLB-db NFLB-FORWARD NFLB-INPUT NFLB-OUTPUT NFLB-POSTROUTING".split(
    " ",
  ),
  ..."*nat *mangle *filter *raw *security COMMIT # create destroy flush swap hash:ip hash:net timeout maxelem".split(
    " ",
  ),
];

interface LineChange {
  line: number;
  deed: "drop" | "double" | "move" | "replace" | "insert" | "remove" | "split" | "join" | "letter";
  other: number;
  word: string;
}

const anyLineChange: fc.Arbitrary<LineChange> = fc.record({
  line: fc.nat(),
  deed: fc.constantFrom("drop", "double", "move", "replace", "insert", "remove", "split", "join", "letter"),
  other: fc.nat(),
  word: fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...WORDS) },
    fc.string({ unit: "binary-ascii", maxLength: 3 }),
  ),
});

/** A text of lines with one to three changes to lines, words or letters. */
export function garbled(right: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc
    .tuple(right, fc.array(anyLineChange, { minLength: 1, maxLength: 3 }))
    .map(([text, changes]) => changes.reduce(garble, text.split("\n")).join("\n"));
}

/** A line with other words in the place of some. */
function replaced(words: readonly string[], at: number, count: number, ...others: string[]): string {
  return [...words.slice(0, at), ...others, ...words.slice(at + count)].join(" ");
}

function garble(lines: readonly string[], { line, deed, other, word }: LineChange): string[] {
  const at = line % lines.length;
  const made = [...lines];
  const text = lines[at]!;
  const words = text.split(" ");
  const nth = other % words.length;
  switch (deed) {
    case "drop":
      made.splice(at, 1);
      break;
    case "double":
      made.splice(at, 0, text);
      break;
    case "move":
      made.splice(other % made.length, 0, ...made.splice(at, 1));
      break;
    case "replace":
      made[at] = replaced(words, nth, 1, word);
      break;
    case "insert":
      made[at] = replaced(words, nth, 0, word);
      break;
    case "remove":
      made[at] = replaced(words, nth, 1);
      break;
    case "split":
      made.splice(at, 1, words.slice(0, nth).join(" "), words.slice(nth).join(" "));
      break;
    case "join":
      made.splice(at, 2, `${text}${other % 2 === 0 ? " " : ""}${lines[at + 1] ?? ""}`);
      break;
    case "letter": {
      const place = other % (text.length + 1);
      made[at] = `${text.slice(0, place)}${word[0] ?? ""}${text.slice(place + 1)}`;
      break;
    }
  }
  return made.length === 0 ? [""] : made;
}
