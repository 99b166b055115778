import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { capacity, compile, explain, formatProblem, SpecError } from "../../src/core";
import { checkArgs } from "../../src/farm/check";
import { readRuleSet } from "../../src/report/read";
import { anyCase } from "../spec/farms";
import { allowTime, cases } from "./cases";
import { mutated } from "./mutations";

/** Farms, packets and gateways that were right, with a few things changed: each is taken, or told why not. */

allowTime();

const prototypes = () =>
  [Object, Array, String, Number, Boolean, Function].map(({ prototype }) =>
    Reflect.ownKeys(prototype as object).map(String),
  );
const untouched = prototypes();
afterEach(() => {
  expect(prototypes()).toEqual(untouched);
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
});

/** What an action makes; undefined where it is told why not, in words that are worth reading. */
function orTold<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    expect(error).toBeInstanceOf(SpecError);
    const { problems, message } = error as SpecError;
    expect(problems.length).toBeGreaterThan(0);
    expect(message.split("\n")).toHaveLength(problems.length + 1);
    for (const problem of problems) {
      const line = formatProblem(problem);
      expect(line).toMatch(/^[\x20-\uffff]+$/);
      expect(line.length).toBeLessThan(600);
      expect(line).not.toMatch(/undefined|\[object |NaN|=>|at Object/);
      // The remedy: what would be right, and not only that this is not.
      expect(problem.text).toMatch(/; |, such as | between | one of |true|neither|\bis (not|a|an|the) /);
    }
    return undefined;
  }
}

test("a farm, its name or its gateway", () => {
  fc.assert(
    fc.property(mutated(anyCase), (any) => {
      const { name, spec, target } = (any ?? {}) as { name: string; spec: never; target: never };
      const before = JSON.stringify(any);
      const made = orTold(() => compile(name, spec, target));
      expect(JSON.stringify(any)).toBe(before);
      if (!made) return;
      expect(compile(name, spec, target)).toEqual(made);
      expect(made.ruleSet).toMatch(/^[\t\n\x20-\x7e]+\n$/);
      expect(readRuleSet(made.ruleSet).name).toBe(name);
    }),
    cases(250),
  );
});

const packet = fc.record(
  {
    source: fc.constantFrom("198.51.100.7", "2001:db8:1::7"),
    destination: fc.constantFrom("203.0.113.10", "2001:db8:ffff::10"),
    protocol: fc.constantFrom("tcp", "udp", "sctp", "icmp"),
    sourcePort: fc.constantFrom(1, 40_000),
    destinationPort: fc.constantFrom(53, 80, 443, 8001),
    interface: fc.constantFrom("eth0", "fifteen-letters"),
    from: fc.constantFrom("client", "gateway"),
    state: fc.constantFrom("new", "established", "invalid"),
    mark: fc.nat(300),
    syn: fc.boolean(),
    affinity: fc.constantFrom("10.0.0.3", "10.0.0.7:80"),
    over: fc.subarray(["connections", "backendConnections", "rate", "sourceRate"]),
    draw: fc.constantFrom(0, 0.5, 1),
    turn: fc.nat(20),
  },
  { requiredKeys: ["source", "destination", "protocol"] },
);

test("a packet", () => {
  fc.assert(
    fc.property(anyCase, fc.oneof(packet, mutated(packet)), ({ name, spec, target }, any) => {
      orTold(() => explain(name, spec, any as never, target));
    }),
    cases(200),
  );
});

const machine = fc.record({
  conntrackMax: fc.nat(2 ** 20),
  memoryBytes: fc.integer({ min: 2 ** 20, max: 2 ** 40 }),
  newConnectionsPerSecond: fc.integer({ min: 1, max: 10_000 }),
  connectionSeconds: fc.integer({ min: 1, max: 100 }),
});

test("a gateway's capacity", () => {
  fc.assert(
    fc.property(anyCase, mutated(fc.record({ capacity: machine })), ({ name, spec, target }, any) => {
      const made = orTold(() => capacity(name, spec, { ...target, ...(any as object) }));
      if (made) expect(JSON.stringify(made)).not.toMatch(/null/);
    }),
    cases(150),
  );
});

const KEY = "the-private-key";

test("the arguments of the component", () => {
  const gateway = fc.record({
    name: fc.constant("edge-1"),
    connection: fc.record({
      host: fc.constantFrom("198.51.100.7", "edge.example"),
      port: fc.constant(22),
      user: fc.constant("ops"),
      privateKey: fc.constant(KEY),
      hostKey: fc.constant("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBxY3"),
    }),
    sudo: fc.boolean(),
    tool: fc.constant("managed"),
  });
  const args = fc.tuple(anyCase, gateway).map(([{ name, spec, target }, fields]) => ({
    name,
    args: { ...spec, gateways: [{ ...fields, ...target }] },
  }));
  fc.assert(
    fc.property(mutated(args), (any) => {
      const given = (any ?? {}) as { name: string; args: never };
      // A key that stands where an address belongs is shown as what stands there.
      const elsewhere = JSON.stringify(any, (field, value) => (field === "connection" ? undefined : value));
      try {
        orTold(() => checkArgs(given.name, given.args));
        checkArgs(given.name, given.args);
      } catch (error) {
        if (!elsewhere?.includes(KEY)) expect((error as Error).message).not.toContain(KEY);
      }
    }),
    cases(300),
  );
});
