import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compile, type FarmSpec, type TargetSpec } from "../../src/core";
import { toolText } from "../../src/host/tool";
import { Machine } from "../host/support";
import { NAT, NFTABLES, ZEVENET } from "../spec/farms";
import { allowTime, sample } from "./cases";
import { garbled } from "./mutations";

/** What the tool reads back from the kernel and from connection tracking, with something changed in it, or nothing like it. */

allowTime();

const SHELLS = [
  { shell: ["dash"], awk: "command awk" },
  { shell: ["busybox", "ash"], awk: "busybox awk" },
];
type How = (typeof SHELLS)[number];

const FARMS: readonly (readonly [string, TargetSpec, FarmSpec])[] = [
  [
    "web",
    NFTABLES,
    {
      listeners: [
        { address: "203.0.113.10", protocol: "tcp", ports: "80,8000-8080" },
        { address: "2001:db8::10", protocol: "all" },
      ],
      backends: [
        { address: "10.0.0.3", maxConnections: 5 },
        { address: "10.0.0.4" },
        { address: "2001:db8:1::3" },
      ],
      affinity: { by: "sourceIp", timeoutSeconds: 300 },
      deny: ["192.0.2.0/24"],
      log: {},
      sourceNat: "masquerade",
    },
  ],
  [
    "mail",
    NAT,
    {
      listeners: [{ address: "203.0.113.11", protocol: "tcp", port: 25 }],
      backends: [{ address: "10.0.0.5", weight: 3 }, { address: "10.0.0.6" }],
      affinity: { by: "sourceIp", timeoutSeconds: 300 },
      deny: ["192.0.2.0/24", "192.0.2.0/25"],
      sourceNat: "masquerade",
    },
  ],
  [
    "old",
    ZEVENET,
    {
      listeners: [{ address: "203.0.113.12", protocol: "udp", port: 53 }],
      backends: [{ address: "10.0.0.7" }, { address: "10.0.0.8" }],
    },
  ],
];

let machine: Machine;
/** What the kernel holds of these farms and of others, as the tool lists it. */
let listing: string;
beforeAll(async () => {
  machine = await Machine.start();
  await machine.sh("cat >/run/functions", { input: toolText().replace(/\nmain "\$@"\n$/, "\n") });
  await machine.sh(
    "iptables -A INPUT -p tcp --dport 22 -j ACCEPT; nft add table inet theirs; ipset create blocked hash:ip",
  );
  for (const [name, target, spec] of FARMS)
    expect(await machine.apply(name, compile(name, spec, target).ruleSet)).toMatchObject({ code: 0 });
  await machine.sh("cat /etc/netfilter-lb/farms/*.rules >/run/want");
  listing = await machine.sh('. /run/functions; sh -c "$LISTER"');
});
afterAll(() => machine.end());

/**
 * Runs lines of shell for each of the texts, which stands in `$TMP/text`. What they print is one answer; that nothing else is
 * said, that nothing fails and that it ends, is checked.
 */
async function each(texts: readonly string[], lines: string, { shell, awk }: How): Promise<string[]> {
  await machine.sh("rm -rf /run/cases; mkdir /run/cases; cat >/run/cases/all", { input: texts.join("") });
  const script = [
    `. /run/functions; awk() { ${awk} "$@"; }; TMP=/run/cases; from=1`,
    "while read -r size; do",
    'tail -c +$from /run/cases/all 2>/dev/null | head -c "$size" >/run/cases/text; from=$((from + size))',
    `{ ${lines}; } </dev/null || echo "failed: $?"`,
    "echo =====",
    "done",
  ].join("\n");
  const input = texts.map((text) => `${Buffer.byteLength(text)}\n`).join("");
  const { code, stdout, stderr } = await machine.running.run(["timeout", "3000", ...shell, "-c", script], {
    input,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const answers = stdout.split("=====\n").slice(0, -1);
  expect(answers).toHaveLength(texts.length);
  for (const answer of answers) expect(answer).not.toContain("failed: ");
  return answers;
}

/** Reads the text, or refuses it as one that broke off, which is all that may be said about it. */
const READ = `kernel_text <"$TMP/text" >"$TMP/kernel" 2>"$TMP/said" ||
  grep -qx "the rules could not be listed: .* broke off" "$TMP/said" || echo "said: $(cat "$TMP/said")"`;

const survey = (texts: readonly string[], how: How) =>
  each(
    texts,
    `${READ}; if [ -s "$TMP/said" ]; then cat "$TMP/said"; else survey /run/want "$TMP/kernel"; fi`,
    how,
  );

/** The numbers of the lines in which a farm's chains, rules, maps, sets and elements stand, and of those that are others'. */
function ownLines(text: string): { own: number[]; foreign: number[] } {
  let table = "";
  let section = "";
  const lines = text.split("\n").map((line, at) => {
    table = /^table (.*) \{$/.exec(line)?.[1] ?? (line === "}" ? "" : table);
    section = /^# (ip6?)$/.exec(line)?.[1] ?? section;
    const listed = /^ip6? netfilter_lb$/.test(table) && /^\t\t?[a-z0-9-]/.test(line) && !/\{$/.test(line);
    // Sets have no section of their own: those of IPv4 stand under both, and count under theirs.
    const saved =
      /^(-A |:)NFLB-|^-A [A-Z]+ -j NFLB-/.test(line) ||
      (section === "ip" && /^(create|add) NFLB-/.test(line));
    const others = /^-A (?!NFLB-)[A-Z]+ (?!-j NFLB-)|^:[A-Z]+ [A-Z]/.test(line);
    return { at, own: (listed && !/^\t\t(elements|type|flags|size)/.test(line)) || saved, others };
  });
  return {
    own: lines.filter(({ own }) => own).map(({ at }) => at),
    foreign: lines.filter(({ others }) => others).map(({ at }) => at),
  };
}

const without = (text: string, at: number) =>
  text
    .split("\n")
    .filter((_, i) => i !== at)
    .join("\n");
const withLine = (text: string, at: number, change: (line: string) => string) =>
  text
    .split("\n")
    .map((line, i) => (i === at ? change(line) : line))
    .join("\n");

describe.each(SHELLS)("the kernel's rules, read by $shell", (how) => {
  test("show each line that a farm misses or has twice, and no line of others", async () => {
    const { own, foreign } = ownLines(listing);
    expect(own.length).toBeGreaterThan(60);
    expect(foreign.length).toBeGreaterThan(3);
    const [right] = await survey([listing], how);
    const missing = await survey(
      own.map((at) => without(listing, at)),
      how,
    );
    const same = own.filter((_, i) => missing[i] === right);
    expect(same.map((at) => listing.split("\n")[at])).toEqual([]);
    const rules = own.filter((at) => /^-A |^\t\t/.test(listing.split("\n")[at]!));
    const twice = await survey(
      rules.map((at) => withLine(listing, at, (line) => `${line}\n${line}`)),
      how,
    );
    for (const answer of twice) expect(answer).not.toBe(right);
    const others = await survey(
      foreign.map((at) => without(listing, at)),
      how,
    );
    for (const answer of others) expect(answer).toBe(right);
  });

  test("show a rule in which a word is another", async () => {
    const { own } = ownLines(listing);
    const changes = sample(
      fc.record({
        at: fc.constantFrom(...own),
        word: fc.nat(),
        other: fc.constantFrom("accept", "0x7", "10.9.9.9", "-"),
      }),
      150,
    );
    const texts = changes.map(({ at, word, other }) =>
      withLine(listing, at, (line) => {
        const words = line.split(" ");
        // Of a chain its name counts, of a set all but the sizes that the kernel finds by itself.
        const counting = line.startsWith(":") ? 1 : line.startsWith("create ") ? 5 : words.length;
        const place = word % counting;
        // A tab tells where a line belongs.
        const indent = /^\t*/.exec(words[place]!)![0];
        return words.map((one, i) => (i === place ? `${indent}${other}x` : one)).join(" ");
      }),
    );
    const [right] = await survey([listing], how);
    const answers = await survey(texts, how);
    const same = texts.filter((_, i) => answers[i] === right);
    expect(same.map((text) => text.split("\n").find((line, i) => line !== listing.split("\n")[i]))).toEqual(
      [],
    );
  });

  test("lead to no error and no endless loop, whatever they are, and are never in step", async () => {
    const garbage = fc.oneof(
      { weight: 3, arbitrary: garbled(garbled(fc.constant(listing))) },
      fc.string({ unit: "binary-ascii", maxLength: 500 }),
      fc.string({ unit: "binary", maxLength: 200 }),
      fc.constantFrom(
        "",
        "\n",
        "table ip netfilter_lb {",
        "\t\telements = {",
        "}\n}\n}\n",
        "# ip\n*nat\n-A\n",
      ),
      fc.array(fc.constantFrom(...listing.split("\n")), { maxLength: 60 }).map((lines) => lines.join("\n")),
    );
    const texts = sample(garbage, 60);
    const [right] = await survey([listing], how);
    const answers = await survey(texts, how);
    expect(right!.split("\n").length).toBeGreaterThan(60);
    const { own } = ownLines(listing);
    // Of a chain its name counts: counters are no drift.
    const counting = (line: string) => (line.startsWith(":") ? line.split(" ")[0]! : line);
    const ours = own.map((at) => counting(listing.split("\n")[at]!));
    for (const [i, text] of texts.entries()) {
      const whole = new Set(text.split("\n").map(counting));
      // What lacks a line of ours is not what is wanted, whatever else it holds.
      const lacks = ours.filter((line) => !whole.has(line));
      if (lacks.length > 0) expect(answers[i], `without ${JSON.stringify(lacks)}: ${text}`).not.toBe(right);
    }
  });

  test("lead to plans that are made or given up, and never to an error of awk", async () => {
    const texts = sample(garbled(garbled(fc.constant(listing))), 25);
    const plans =
      `${READ}; ` +
      'nft_plan "$TMP/kernel" /run/want; sets_plan "$TMP/kernel" /run/want; ' +
      ': >"$TMP/none"; for f in ip ip6; do ipt_plan $f "$TMP/kernel" "$TMP/kernel" "$TMP/none" /run/want >/dev/null; done; echo made';
    for (const answer of await each(texts, plans, how)) expect(answer).toBe("made\n");
  });
});

/** A flow as `conntrack -L` prints it. */
const anyFlow = fc
  .record({
    protocol: fc.constantFrom(
      "tcp      6 431999 ESTABLISHED",
      "udp      17 29",
      "icmp     1 29",
      "unknown  47 599",
    ),
    source: fc.constantFrom("198.51.100.7", "2001:db8:9::7"),
    dialled: fc.constantFrom("203.0.113.10", "203.0.113.11", "203.0.113.12", "2001:db8::10", "192.0.2.1"),
    port: fc.constantFrom(25, 53, 80, 8001, 65_535),
    answers: fc.constantFrom("10.0.0.3", "203.0.113.10", "203.0.113.12", "2001:db8::10"),
    mark: fc.constantFrom(0, 1, 4_294_967_295),
    rest: fc.constantFrom("[UNREPLIED] ", "", "packets=3 bytes=180 "),
  })
  .map(
    ({ protocol, source, dialled, port, answers, mark, rest }) =>
      `${protocol} src=${source} dst=${dialled} sport=40000 dport=${port} ${rest}src=${answers} dst=${source} sport=${port} dport=40000 [ASSURED] mark=${mark} use=1`,
  );
const anyFlows = fc.array(anyFlow, { minLength: 1, maxLength: 12 }).map((lines) => `${lines.join("\n")}\n`);

describe.each(SHELLS)("connection tracking, read by $shell", (how) => {
  const CLAIMED = [
    "203.0.113.10 tcp 80",
    "203.0.113.10 tcp 8000-8080",
    "203.0.113.12 udp 53",
    "2001:db8::10 all -",
  ];
  /** Lists what it is told to, and says what it was asked to delete. */
  const FAKE =
    'conntrack() { case $1 in -L) cat "$TMP/text" ;; -D) shift; printf "%s\\n" "$*" >>"$TMP/asked" ;; esac; }; : >"$TMP/asked"';
  const service = `printf '%s\\n' ${CLAIMED.map((one) => `'${one}'`).join(" ")} >"$TMP/fresh"`;
  const leaving =
    "printf '%s\\n' 'ipv4 203.0.113.10 tcp 80 0x1 0xffffffff gone' 'ipv4 203.0.113.10 tcp 8000-8080 0x1 0xffffffff ' 'ipv6 2001:db8::10 udp - 0xffffffff 0xffffffff ' >\"$TMP/leaving\"";

  test("is asked to forget only flows to the services that are meant, whatever it lists", async () => {
    const texts = sample(fc.oneof(anyFlows, garbled(anyFlows), fc.string({ unit: "binary-ascii" })), 40);
    const answers = await each(
      texts,
      `${FAKE}; ${service}; ${leaving}; forget_flows "$TMP/fresh"; forget_leaving; cat "$TMP/asked"`,
      how,
    );
    const asked = answers.flatMap((answer) => answer.split("\n").filter(Boolean));
    expect(asked.length).toBeGreaterThan(0);
    for (const call of asked)
      expect(call).toMatch(/^-f ipv[46] -d (203\.0\.113\.1[02]|2001:db8::10) (-[rp]|--dport|--mark) /);
  });

  test("gives numbers or nothing to status, whatever it lists", async () => {
    const texts = sample(fc.oneof(anyFlows, garbled(anyFlows), fc.string({ unit: "binary-ascii" })), 25);
    const answers = await each(
      texts,
      `${FAKE}; counted() { :; }; : >"$TMP/roster"; headers "" "$TMP/roster" >"$TMP/headers"; measure; cut -f 9-11 "$TMP/backends"`,
      how,
    );
    for (const answer of answers) expect(answer).toMatch(/^(\d+\t(\d+|-)\t(\d+|-)\n)+$/);
  });
});
