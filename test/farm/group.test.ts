import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";
import { compile, type FarmArgs, LoadBalancerFarms, type LoadBalancerFarmsArgs } from "../../src";
import { EDGE, farm } from "./farms";
import { type Made, run, SECRET, settled, UNKNOWN, unknown } from "./program";

/** Many farms in one component. */

const WEB = {
  listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 80 }],
  backends: [{ address: "10.0.0.3", weight: 3 }, { address: "10.0.0.4" }],
} satisfies FarmArgs;
const DNS = {
  listeners: [{ address: "203.0.113.10", protocol: "udp", port: 53 }],
  backends: [{ address: "10.0.0.5" }],
} satisfies FarmArgs;

const group = (args: Partial<LoadBalancerFarmsArgs> = {}, name = "all") =>
  new LoadBalancerFarms(name, { gateways: [EDGE], farms: { web: WEB, dns: DNS }, ...args });

const inputsOf = (made: Made[], name: string) => made.find((resource) => resource.name === name)!.inputs;

describe("a group makes", () => {
  test("itself, one set-up a gateway, and one Command a gateway for all its farms", async () => {
    const made = await run(() => group({ gateways: [EDGE, { ...EDGE, name: "edge-2" }] }));
    expect(made.map(({ type, name, parent }) => [type, name, parent]).sort()).toEqual([
      ["command:remote:Command", "all-edge-1", "all"],
      ["command:remote:Command", "all-edge-2", "all"],
      ["command:remote:Command", "netfilter-lb-edge-1", undefined],
      ["command:remote:Command", "netfilter-lb-edge-2", undefined],
      ["netfilter-lb:index:LoadBalancerFarms", "all", undefined],
    ]);
  });

  test("rules that are its farms' rule sets by name, one after the other", async () => {
    const inputs = inputsOf(await run(() => group()), "all-edge-1");
    const sets = Object.entries({ dns: DNS, web: WEB }).map(
      ([name, spec]) => compile(name, spec, { dataPlane: "nftables" }).ruleSet,
    );
    expect(inputs.stdin).toBe(sets.join(""));
    expect(inputs.create).toMatch(
      /^\/usr\/local\/sbin\/netfilter-lb apply-group all --owner project\/stack\/edge-1 --length \d+ --sha256 [0-9a-f]{64} --ssh "\$SSH_CONNECTION"$/,
    );
    expect(inputs.delete).toContain("netfilter-lb remove-group all --owner project/stack/edge-1");
    expect(inputs.triggers).toEqual(["netfilter-lb-edge-1-id"]);
  });

  test("the same whatever order its farms are written in", async () => {
    const [one, other] = await Promise.all([
      run(() => group()).then((made) => inputsOf(made, "all-edge-1")),
      run(() => group({ farms: { dns: DNS, web: WEB } })).then((made) => inputsOf(made, "all-edge-1")),
    ]);
    expect(one).toEqual(other);
  });

  test("inputs with a line a farm, which counts what would be too long", async () => {
    const many = Array.from({ length: 300 }, (_, k) => ({ address: `10.0.${k >> 8}.${k & 255}` }));
    const listeners = Array.from({ length: 40 }, (_, k) => ({
      address: `203.0.113.${k + 100}`,
      protocol: "tcp" as const,
      port: 80,
    }));
    const made = await run(() =>
      group({ farms: { web: WEB, dns: { ...DNS, backends: many }, all: { listeners, backends: many } } }),
    );
    expect((inputsOf(made, "all").farms as string).replace(/[0-9a-f]{8}$/gm, "HASH").split("\n")).toEqual([
      "all at 40 listeners to 300 backends; random, none; rules HASH",
      "dns at 203.0.113.10 udp 53 to 300 backends; random, none; rules HASH",
      "web at 203.0.113.10 tcp 80 to 10.0.0.3 (0.75), 10.0.0.4 (0.25); random, none; rules HASH",
    ]);
  });

  test("outputs by farm", async () => {
    let all!: LoadBalancerFarms;
    await run(() => {
      all = group();
    });
    expect(await settled(all.shares)).toEqual({
      dns: { "10.0.0.5": 1 },
      web: { "10.0.0.3": 0.75, "10.0.0.4": 0.25 },
    });
    expect(await settled(all.probabilities)).toMatchObject({ web: { "10.0.0.3": 0.75, "10.0.0.4": 1 } });
    expect(Object.keys((await settled(all.marks)).web!)).toEqual(["10.0.0.3", "10.0.0.4"]);
    expect((await settled(all.ruleSets)).dns!["edge-1"]).toMatch(/^# netfilter-lb rule set 1\n# farm dns\n/);
  });

  test("nothing where it only refers to a group that is there", async () => {
    const made = await run(async () => {
      const urn = await settled(group().urn);
      new LoadBalancerFarms("same", {} as LoadBalancerFarmsArgs, { urn });
    });
    expect(made).toHaveLength(3);
  });

  test("values of other resources: secret where they are, unknown where they are", async () => {
    const farms = (address: pulumi.Output<string>) => ({
      web: WEB,
      dns: { ...DNS, backends: [{ address }] },
    });
    const secret = await run(() => group({ farms: farms(pulumi.secret("10.0.0.5")) }));
    expect(inputsOf(secret, "all-edge-1").stdin).toBe(SECRET);
    const pending = await run(() => group({ farms: farms(unknown()) }), { preview: true });
    expect(inputsOf(pending, "all-edge-1").stdin).toBe(UNKNOWN);
    expect(inputsOf(pending, "all-edge-1").delete).toContain("remove-group all");
  });
});

/** What the program is told. */
async function refusal(program: () => unknown): Promise<string> {
  const error = await run(program, { preview: true }).then(
    (made: Made[]) => expect.fail(`it made ${made.map(({ name }) => name)}`),
    (error: unknown) => error as Error,
  );
  expect(error).toBeInstanceOf(pulumi.RunError);
  return error.message;
}

describe("a group refuses", () => {
  const zevenet = { ...EDGE, dataPlane: "iptables", layout: "zevenet" } as const;

  test.each<[string, Partial<LoadBalancerFarmsArgs>, string]>([
    ["no farm", { farms: {} }, "farms: is empty; give at least one farm, or leave the group out"],
    [
      "a list of farms",
      { farms: [WEB] as never },
      "farms: a list of 1 is not an object; give each farm by its name, { web: { … } }",
    ],
    ["no farms at all", { farms: undefined as never }, "farms: is missing; give each farm by its name"],
    [
      "a farm's name",
      { farms: { "web--1": WEB } },
      'farms["web--1"]: "web--1" is not a name; use letters, digits and single "-" or "_", a letter first',
    ],
    [
      "a field of a farm",
      { farms: { web: { ...WEB, gateways: [EDGE] } as never } },
      "farms.web.gateways: is not a field here; there are listeners, backends, ",
    ],
    [
      "a value",
      { farms: { web: { ...WEB, backends: [{ address: "10.0.0.3", weight: 0 }] } } },
      "farms.web.backends[0].weight: 0 is not between 1 and 65535; to take a backend out of service set its state to drain or down",
    ],
    [
      "what contradicts itself",
      { farms: { web: { ...WEB, backends: [...WEB.backends, { address: "10.0.0.3" }] } } },
      "farms.web.backends[2]: 10.0.0.3 is backends[0] already; name each once and give it a weight",
    ],
    [
      "what a gateway cannot do",
      { gateways: [zevenet], farms: { web: { ...WEB, algorithm: "sourceHash" } } },
      "farms.web: gateways[0].layout: ",
    ],
    [
      "a listener that catches SSH",
      {
        farms: { web: { ...WEB, listeners: [{ address: "198.51.100.7", protocol: "tcp", port: 22 }] } },
        confirm: { withinSeconds: 0 },
      },
      "farms.web.listeners[0]: 198.51.100.7 tcp 22 catches SSH to this gateway",
    ],
    [
      "a listener where SSH comes in, whose changes are to be confirmed",
      { farms: { web: { ...WEB, listeners: [{ address: "198.51.100.7", protocol: "tcp", port: 80 }] } } },
      'farms.web.listeners[0].address: "198.51.100.7" is where SSH comes in, so a change there is to be confirmed, and a group goes without ' +
        "confirmation; make this farm a LoadBalancerFarm, or set confirm: { withinSeconds: 0 } here to let its changes count at once",
    ],
    [
      "a trial",
      { confirm: { withinSeconds: 60 } },
      "confirm.withinSeconds: 60 asks for a trial, which only a LoadBalancerFarm has; in a group there is only 0, for none",
    ],
    [
      "a trial that is an Output",
      { confirm: { withinSeconds: unknown() } },
      "confirm.withinSeconds: an Output asks for a trial",
    ],
    [
      "a farm's load",
      { gateways: [{ ...EDGE, capacity: { newConnectionsPerSecond: 10 } }] },
      "gateways[0].capacity.newConnectionsPerSecond: is about the load of a single farm",
    ],
    [
      "a gateway twice",
      { gateways: [EDGE, EDGE] },
      'gateways[1].name: "edge-1" is the name of gateways[0] already; name each machine once',
    ],
  ])("%s", async (_, args, words) => {
    const message = await refusal(() => group(args));
    expect(message).toMatch(/^group all: 1 problem\n {2}/);
    expect(message.split("\n")[1]!.slice(2)).toContain(words);
  });

  test("all of it at once", async () => {
    const farms = {
      web: { ...WEB, slots: 1 },
      dns: { ...DNS, backends: [{ address: "10.0.0.5", weight: 0 }] },
    };
    expect(await refusal(() => group({ farms, gateways: [{ ...EDGE, sudo: 1 as never }] }))).toMatch(
      /^group all: \d problems\n {2}gateways\[0\]\.sudo: (.*\n)+ {2}farms\.dns\.backends\[0\]\.weight: /,
    );
  });

  test("values that come to be wrong", async () => {
    const bad = { ...DNS, backends: [{ address: pulumi.output("10.0.0.300") }] };
    expect(await refusal(() => group({ farms: { web: WEB, dns: bad } }))).toMatch(
      /^group all: 1 problem\n {2}farms\.dns\.backends\[0\]\.address: "10\.0\.0\.300" is not an IP address/,
    );
  });

  test("a listener that comes to be where SSH comes in, and goes with confirm: { withinSeconds: 0 }", async () => {
    const gateways = [{ ...EDGE, connection: { ...EDGE.connection, host: pulumi.output("203.0.113.10") } }];
    expect(await refusal(() => group({ gateways }))).toContain(
      'farms.dns: "203.0.113.10" is where SSH comes in',
    );
    const made = await run(() => group({ gateways, confirm: { withinSeconds: 0 } }));
    expect(inputsOf(made, "all").confirm).toBe("never: a change counts at once");
    expect(made).toHaveLength(3);
  });

  test.each<[string, () => unknown, string]>([
    [
      "a farm that stands alone as well",
      () => [group(), farm("web", { listeners: [{ address: "203.0.113.11", protocol: "tcp", port: 80 }] })],
      "farm web comes to gateway edge-1 twice, in group all and alone; keep one of the two",
    ],
    [
      "a service that a farm claims which stands alone",
      () => [group(), farm("shop")],
      "farm shop and farm web both claim 203.0.113.10 tcp 80 on gateway edge-1; give one of them another address or port",
    ],
    [
      "a service in two of its farms",
      () =>
        group({
          farms: {
            web: WEB,
            shop: { ...WEB, listeners: [{ address: "203.0.113.10", protocol: "tcp", ports: "70-90" }] },
          },
        }),
      "farm web and farm shop both claim 203.0.113.10 tcp 80 on gateway edge-1 (203.0.113.10 tcp 70-90); give one of them another address or port",
    ],
    [
      "a farm that sends to another one",
      () =>
        group({
          farms: {
            web: WEB,
            shop: {
              listeners: [{ address: "203.0.113.11", protocol: "tcp", port: 80 }],
              backends: [{ address: "203.0.113.10" }],
            },
          },
        }),
      "farm shop sends to 203.0.113.10 tcp 80, which farm web claims on the same gateway edge-1; a packet is translated once, so give farm shop the backends themselves",
    ],
    [
      "another description of a gateway",
      () => [
        farm("shop", { listeners: [{ address: "203.0.113.11", protocol: "tcp", port: 80 }] }),
        group({ gateways: [{ ...EDGE, sudo: true }] }),
      ],
      "group all and farm shop describe gateway edge-1 differently (sudo); keep one description of a gateway and give it to both",
    ],
    [
      "another group of its name below another parent",
      () => {
        const parent = new pulumi.ComponentResource("test:index:Parent", "parent");
        const other = {
          web2: { ...WEB, listeners: [{ address: "203.0.113.12", protocol: "tcp", port: 80 } as const] },
        };
        return [group(), new LoadBalancerFarms("all", { gateways: [EDGE], farms: other }, { parent })];
      },
      "there are two groups all on gateway edge-1; rename one of them",
    ],
  ])("%s", async (_, program, words) => expect(await refusal(program)).toBe(words));
});

test("a thousand farms of ten backends at one address are compiled in seconds", {
  timeout: 20_000,
}, async () => {
  const farms = Object.fromEntries(
    Array.from({ length: 1000 }, (_, k) => [
      `farm${k}`,
      {
        listeners: [{ address: "203.0.113.10", protocol: "tcp" as const, port: 1000 + k }],
        backends: Array.from({ length: 10 }, (_, b) => ({ address: `10.0.${k % 250}.${b + 1}` })),
      },
    ]),
  );
  const began = performance.now();
  const made = await run(() => group({ farms }), { preview: true });
  expect(performance.now() - began).toBeLessThan(10_000);
  expect((inputsOf(made, "all-edge-1").stdin as string).match(/^# farm /gm)).toHaveLength(1000);
});
