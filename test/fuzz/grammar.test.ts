import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compile } from "../../src/core";
import { toolText } from "../../src/host/tool";
import { ruleSet as fixture } from "../host/fixtures";
import { Machine } from "../host/support";
import { anyCase } from "../spec/farms";
import { allowTime, sample } from "./cases";
import { garbled } from "./mutations";
import { reachOf } from "./reach";

/** Rule sets in which something was changed: what the tool lets in touches nothing but the farm, here and in the kernel. */

allowTime();

let machine: Machine;
beforeAll(async () => {
  machine = await Machine.start();
  await machine.sh("cat >/run/functions", { input: toolText().replace(/\nmain "\$@"\n$/, "\n") });
});
afterAll(() => machine.end());

const anySet = anyCase.map(({ name, spec, target }) => compile(name, spec, target).ruleSet);

const nameOf = (text: string) => /^# farm ([A-Za-z0-9_-]+)$/m.exec(text)?.[1] ?? "web";

const SHELLS = [
  { shell: ["dash"], awk: "command awk" },
  { shell: ["busybox", "ash"], awk: "busybox awk" },
];

/** What the fence says of each set; an empty line: it may come in. @param as the farm that the caller names */
async function fence(
  sets: readonly string[],
  { shell, awk }: (typeof SHELLS)[number],
  as: (text: string) => string = nameOf,
): Promise<string[]> {
  const list = sets.map((text, i) => `${i} ${as(text)} ${Buffer.byteLength(text)}\n`).join("");
  await machine.sh("rm -rf /run/sets; mkdir /run/sets; cat >/run/sets/all", { input: sets.join("") });
  const script =
    `. /run/functions; awk() { ${awk} "$@"; }; TMP=/run/sets; from=1; while read -r i name size; do ` +
    'tail -c +$from /run/sets/all 2>/dev/null | head -c "$size" >/run/sets/one; from=$((from + size)); ' +
    'said=$(check_set /run/sets/one "$name" | head -n 1); printf "%s\\n" "$i $said"; done';
  const outcome = await machine.running.run(["timeout", "3000", ...shell, "-c", script], { input: list });
  expect({ code: outcome.code, stderr: outcome.stderr }).toEqual({ code: 0, stderr: "" });
  const said = outcome.stdout.split("\n").slice(0, -1);
  expect(said).toHaveLength(sets.length);
  return said.map((line, i) => {
    expect(line.startsWith(`${i} `)).toBe(true);
    return line.slice(`${i} `.length);
  });
}

/** Those that may come in. */
async function admitted(sets: readonly string[], how = SHELLS[0]!): Promise<string[]> {
  const said = await fence(sets, how);
  return sets.filter((_, i) => said[i] === "");
}

describe("what the fence lets in", () => {
  test.each(SHELLS)("reaches the farm's own chains, sets and services only: $shell", async (how) => {
    const sets = sample(garbled(anySet), 150);
    const accepted = await admitted(sets, how);
    // Most changes break a set, and some must not: else this would show nothing.
    expect(accepted.length).toBeGreaterThan(sets.length / 20);
    expect(accepted.length).toBeLessThan(sets.length * 0.8);
    for (const text of accepted) {
      const { made, used, services, expecting, strange } = reachOf(text);
      const short = /^# short-name (\S+)$/m.exec(text)![1]!;
      const claimed = [...text.matchAll(/^# service (.*)$/gm)].map(([, service]) => service);
      const own = (name: string) =>
        name === `NFLB-${short}` || [`${short}.`, `NFLB-${short}.`].some((prefix) => name.startsWith(prefix));
      expect(strange, text).toEqual([]);
      expect(
        [...made, ...used].filter((name) => !own(name)),
        text,
      ).toEqual([]);
      for (const service of services) expect(claimed, text).toContain(service);
      const addresses = claimed.map((service) => service!.split(" ")[0]);
      for (const address of expecting) expect(addresses, text).toContain(address);
    }
  });

  test("is the same in both shells, and every refusal has words", async () => {
    const sets = sample(garbled(garbled(anySet)), 100);
    const [one, other] = [await fence(sets, SHELLS[0]!), await fence(sets, SHELLS[1]!)];
    expect(one).toEqual(other);
    for (const words of one) if (words !== "") expect(words).toMatch(/\S+ \S+ \S+/);
  });

  test.each(SHELLS)("is no text that is none: $shell", async (how) => {
    const anyText = fc.oneof(
      fc.string({ unit: "binary-ascii", maxLength: 300 }),
      fc.string({ unit: "binary", maxLength: 100 }),
    );
    const texts = sample(
      anyText.map((text) => `${text}\n`),
      60,
    );
    for (const words of await fence(texts, how, () => "web")) expect(words).not.toBe("");
  });
});

const BUILT_IN = {
  raw: ["PREROUTING", "OUTPUT"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  filter: ["INPUT", "FORWARD", "OUTPUT"],
};

/** Rules of others, of every kind that a gateway holds. */
const FOREIGN = [
  "nft add table inet theirs",
  "nft 'add set inet theirs blocked { type ipv4_addr; elements = { 192.0.2.66 } }'",
  "nft 'add map inet theirs services { type inet_service : verdict; elements = { 22 : accept } }'",
  "nft 'add chain inet theirs web { }'",
  "nft 'add rule inet theirs web ip saddr @blocked drop'",
  "nft 'add chain inet theirs input { type filter hook input priority 0; }'",
  "nft 'add rule inet theirs input tcp dport vmap @services'",
  "nft 'add rule inet theirs input goto web'",
  ...["iptables", "ip6tables"].flatMap((command) => [
    `${command} -N WEB`,
    `${command} -A WEB -p tcp --dport 22 -j ACCEPT`,
    `${command} -A INPUT -j WEB`,
    // One in every chain, because iptables-nft makes built-in chains when they are first used, and leaves them.
    ...Object.entries(BUILT_IN).flatMap(([table, chains]) =>
      chains.map((chain) => `${command} -t ${table} -A ${chain} -p tcp --dport 25 -j RETURN`),
    ),
  ]),
  "ipset create blocked hash:ip",
  "ipset add blocked 192.0.2.66",
];

/** An element of the tool's maps, wherever nft breaks the line. */
const ELEMENT =
  "(203[.]0[.]113|198[.]51[.]100|2001:db8:ffff)[0-9a-f:.]*( [.] [a-z]+ [.] [0-9-]+)?( : goto [^ ,]+)?";

describe("in the kernel", () => {
  let gateway: Machine;
  beforeAll(async () => {
    gateway = await Machine.start();
    await gateway.sh(FOREIGN.join("\n"));
    for (const [name, plane] of [
      ["db", "nftables"],
      ["mail", "iptables nat"],
    ] as const) {
      const services = [`198.51.100.${plane === "nftables" ? 10 : 11} tcp 5432`];
      expect(await gateway.apply(name, fixture({ name, plane, services }))).toMatchObject({ code: 0 });
    }
  });
  afterAll(() => gateway.end());

  /** All but empty maps and their look-ups in the tool's own table, which stay for the next farm. */
  const everything = () =>
    gateway.sh(
      [
        "nft -s list ruleset | sed '/^table ip6* netfilter_lb/,/^}/d'",
        "nft -s list ruleset | grep -E '(chain|map|set|helper) [^ ]*[.]' | sort",
        `nft -s list ruleset | grep -oE '${ELEMENT}' | sort`,
        "for t in iptables ip6tables; do $t-save | sed -e '/^#/d' -e 's/\\[[0-9:]*\\]//'; done",
        "ipset -s save",
      ].join("\n"),
    );

  /** What others have, beside the farm that is tried: their tables, chains and sets, and what of the shared parts is theirs. */
  const others = () =>
    gateway.sh(
      [
        "nft -s list table inet theirs",
        `nft -s list ruleset ip | grep -oE '${ELEMENT}' | grep -F 198.51.100.10 | sort`,
        "nft -s list ruleset ip | sed -n '/chain db[.]/,/}$/p'",
        "for t in iptables ip6tables; do $t-save | sed -e '/^#/d' -e 's/\\[[0-9:]*\\]//' | grep -v NFLB- ; done",
        "iptables-save | grep -e NFLB-mail -e 198.51.100.11",
        "ipset -s save blocked",
      ].join("\n"),
    );

  test("a set that is let in leaves all of others as it was, while it is there and when it is gone", async () => {
    const accepted = await admitted(sample(garbled(anySet), 150));
    // Large ones differ in the number of their lines alone.
    const tried = accepted.filter((text) => Buffer.byteLength(text) < 12_000);
    const before = await everything();
    const untouched = await others();
    const codes: number[] = [];
    for (const text of tried.slice(0, Math.max(8, tried.length / 6))) {
      const name = nameOf(text);
      const { code, stderr } = await gateway.apply(name, text);
      codes.push(code);
      // What nft cannot read may be newer than nft: 6.
      expect([0, 1, 3, 6], `${stderr}\n${text}`).toContain(code);
      if (code !== 0) expect(stderr).toMatch(/^netfilter-lb: .+\n$/);
      expect(await others(), text).toBe(untouched);
      expect(await gateway.remove(name), text).toMatchObject({ code: 0 });
      expect(await everything(), text).toBe(before);
    }
    expect(codes.filter((code) => code === 0).length).toBeGreaterThan(2);
  });
});
