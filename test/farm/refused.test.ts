import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";
import type { GatewayArgs, LoadBalancerFarmArgs } from "../../src";
import { EDGE, farm, HOST_KEY } from "./farms";
import { type Made, run, unknown } from "./program";

/** What a preview refuses, before anything is dialled. */

/** What the program is told. */
async function refusal(program: () => unknown): Promise<string> {
  const error = await run(program, { preview: true }).then(
    (made: Made[]) => expect.fail(`it made ${made.map(({ name }) => name)}`),
    (error: unknown) => error as Error,
  );
  expect(error).toBeInstanceOf(pulumi.RunError);
  return error.message;
}

const at = (
  connection: Partial<GatewayArgs["connection"]>,
  fields: Partial<GatewayArgs> = {},
): GatewayArgs => ({
  ...EDGE,
  connection: { ...EDGE.connection, ...connection },
  ...fields,
});

describe("plain values, at the constructor", () => {
  test.each<[string, Partial<LoadBalancerFarmArgs>, string]>([
    [
      "no host key",
      { gateways: [{ ...EDGE, connection: { host: "198.51.100.7" } }] },
      "gateways[0].connection.hostKey: is missing; give the gateway's public key (ssh-keyscan -t ed25519 HOST, " +
        "compared with the machine's own), or set insecureIgnoreHostKey: true to talk to whoever answers",
    ],
    [
      "a gateway twice",
      { gateways: [EDGE, EDGE] },
      'gateways[1].name: "edge-1" is the name of gateways[0] already; name each machine once',
    ],
    [
      "a nameless gateway that is not known yet",
      { gateways: [{ connection: { host: unknown<string>(), hostKey: HOST_KEY }, dataPlane: "nftables" }] },
      "gateways[0].name: is missing, and the connection's host is not known yet; give the gateway a name",
    ],
    ...(["name", "sudo", "tool", "gone"] as const).map((field): [string, object, string] => [
      `an output for a gateway's ${field}`,
      { gateways: [{ ...EDGE, [field]: unknown() }] },
      `gateways[0].${field}: is an Output or a promise; write the value itself`,
    ]),
    ...[1, 3601, 2.5, "5"].map((seconds): [string, object, string] => [
      `${seconds} seconds between repairs`,
      { gateways: [{ ...EDGE, repairEverySeconds: seconds }] },
      `gateways[0].repairEverySeconds: ${JSON.stringify(seconds)} is not ${Number.isInteger(seconds) ? "" : "a whole number "}` +
        "between 2 and 3600 seconds; to repair nothing leave it out",
    ]),
    [
      "another word for drift",
      { drift: "fix" as never },
      'drift: "fix" is not one of ignore, report, repair',
    ],
    [
      "an output for drift",
      { drift: pulumi.output("repair") as never },
      "drift: is an Output or a promise; write the value itself",
    ],
    [
      "a promise for insecureIgnoreHostKey",
      { gateways: [at({ insecureIgnoreHostKey: Promise.resolve(true) as never })] },
      "gateways[0].connection.insecureIgnoreHostKey: is an Output or a promise; write the value itself",
    ],
    [
      "a listener that catches SSH",
      { listeners: [{ address: "198.51.100.7", protocol: "tcp" }] },
      "listeners[0]: 198.51.100.7 tcp 0-65535 catches SSH to this gateway (198.51.100.7 tcp 22); " +
        "leave that port out, or reach the gateway by another address",
    ],
    [
      "SSH on another port",
      {
        gateways: [at({ port: 2222 })],
        listeners: [{ address: "198.51.100.7", protocol: "tcp", ports: "2000-3000" }],
      },
      "listeners[0]: 198.51.100.7 tcp 2000-3000 catches SSH to this gateway (198.51.100.7 tcp 2222); " +
        "leave that port out, or reach the gateway by another address",
    ],
    ...[4, 3601, 7.5, "60", -1].map((seconds): [string, Partial<LoadBalancerFarmArgs>, string] => [
      `${JSON.stringify(seconds)} seconds to confirm`,
      { confirm: { withinSeconds: seconds as number } },
      `confirm.withinSeconds: ${JSON.stringify(seconds)} is not a whole number of seconds between 5 and 3600; ` +
        "0 lets a change count at once",
    ]),
    [
      "no seconds to confirm",
      { confirm: {} as { withinSeconds: number } },
      "confirm.withinSeconds: is missing; give the seconds, or 0 for none",
    ],
    [
      "another field to confirm",
      { confirm: { withinSeconds: 60, seconds: 3 } as { withinSeconds: number } },
      "confirm.seconds: is not a field here; there are withinSeconds",
    ],
    [
      "a layout of the other data plane",
      { gateways: [{ ...EDGE, layout: "zevenet" }] },
      'gateways[0].layout: "zevenet" is a layout of iptables; leave it out with nftables',
    ],
    [
      "a resource where its address was meant",
      { backends: [{ address: new FakeResource() as never }] },
      "backends[0].address: an object is not an IP address; write it as text, such as 203.0.113.10",
    ],
    [
      "a layout that has no affinity",
      {
        gateways: [EDGE, { ...EDGE, name: "edge-2", dataPlane: "iptables", layout: "zevenet" }],
        affinity: { by: "sourceIp", timeoutSeconds: 60 },
      },
      'gateways[1].layout: "zevenet" has no affinity; take layout nat, or nftables',
    ],
    [
      "a pin to nobody",
      { pins: [{ source: "198.51.100.0/24", backend: "10.0.0.9" }] },
      'pins[0].backend: "10.0.0.9" is no backend of this farm; there are 10.0.0.3, 10.0.0.4',
    ],
    [
      "affinity as a whole from elsewhere",
      { affinity: unknown() as never },
      "affinity: is not known yet; write it out, with an Output only where a single text or number stands",
    ],
    ["no gateways", { gateways: [] }, "gateways: is empty; give at least one gateway"],
    [
      "something else for a gateway",
      { gateways: [null as never, EDGE] },
      "gateways[0]: is not an object; its fields are dataPlane, layout, interface, markMask, name, connection, sudo, lockForward, tool, gone, repairEverySeconds, capacity",
    ],
  ])("%s", async (_, fields, problem) => {
    expect(await refusal(() => farm("web", fields))).toBe(`farm web: 1 problem\n  ${problem}`);
  });

  test("a listener beside SSH is none of its business, but must be confirmed", async () => {
    const listeners = [{ address: "198.51.100.7", protocol: "tcp" as const, ports: "1-21,23-65535" }];
    expect(await run(() => farm("web", { listeners }))).toHaveLength(4);
  });

  test("a missing list does not keep the others from being checked", async () => {
    expect(
      await refusal(() => farm("web", { listeners: undefined as never, gateways: [at({ port: 0 })] })),
    ).toBe(
      "farm web: 2 problems\n  listeners: is missing; give at least one listener\n" +
        "  gateways[0].connection.port: 0 is not a port; a port is between 1 and 65535",
    );
  });

  test("a gateway's name that leaves no room for the stack's", async () => {
    const name = "g".repeat(253);
    expect(await refusal(() => farm("web", { gateways: [{ ...EDGE, name }] }))).toBe(
      `farm web: project/stack/${name}, which a gateway knows a stack by, has 267 characters; 250 are allowed, so give the gateway a shorter name`,
    );
  });

  test("an unknown field of a connection, without the connection's secrets", async () => {
    const message = await refusal(() => farm("web", { gateways: [at({ privatekey: "hunter2" } as never)] }));
    expect(message).toContain("gateways[0].connection.privatekey: is not a field here");
    expect(message).not.toContain("hunter2");
  });
});

describe("values of other resources, as one error once they are known", () => {
  test("with every problem", async () => {
    const backends = [{ address: pulumi.output("10.0.0"), weight: pulumi.output(0) }];
    expect(await refusal(() => farm("web", { backends }))).toBe(
      "farm web: 2 problems\n" +
        '  backends[0].address: "10.0.0" is not an IP address; names are not resolved, because a rule holds addresses\n' +
        "  backends[0].weight: 0 is not between 1 and 65535; to take a backend out of service set its state to drain or down",
    );
  });

  test("of lists, too", async () => {
    expect(await refusal(() => farm("web", { deny: pulumi.output(["0.0.0.0/1", "128.0.0.0/1"]) }))).toBe(
      "farm web: 1 problem\n  deny: holds every IPv4 address, so listeners[0] would serve nobody; deny less",
    );
  });

  test("of seconds to confirm, too", async () => {
    expect(await refusal(() => farm("web", { confirm: { withinSeconds: pulumi.output(3) } }))).toBe(
      "farm web: 1 problem\n  confirm.withinSeconds: 3 is not a whole number of seconds between 5 and 3600; " +
        "0 lets a change count at once",
    );
  });

  test("a layout that is not known yet", async () => {
    const gateways = [{ ...EDGE, layout: unknown<"nat">() as never }];
    expect(await run(() => farm("web", { gateways }), { preview: true })).toHaveLength(3);
  });

  test("on however many gateways", async () => {
    const gateways = [EDGE, { ...EDGE, name: "edge-2" }];
    expect(await refusal(() => farm("web", { gateways, algorithm: pulumi.output("fastest" as never) }))).toBe(
      'farm web: 1 problem\n  algorithm: "fastest" is not one of random, roundRobin, sourceHash, flowHash',
    );
  });
});

describe("two farms that cannot share a gateway", () => {
  const both = "farm mail and farm web both claim 203.0.113.10 tcp 80 on gateway edge-1";

  test("one address and port", async () => {
    expect(await refusal(() => [farm("web"), farm("mail")])).toBe(
      `${both}; give one of them another address or port`,
    );
  });

  test("a range that holds the port", async () => {
    const listeners = [{ address: "203.0.113.10", protocol: "tcp" as const, ports: "1-100" }];
    expect(await refusal(() => [farm("web"), farm("mail", { listeners })])).toBe(
      "farm mail and farm web both claim 203.0.113.10 tcp 1-100 on gateway edge-1 (203.0.113.10 tcp 80); " +
        "give one of them another address or port",
    );
  });

  test.each([
    ["the dialled port", { address: "203.0.113.10" }],
    ["a port of its own", { address: "203.0.113.10", port: 80 }],
  ])("one that sends to the other, at %s", async (_, backend) => {
    const listeners = [{ address: "203.0.113.77", protocol: "tcp" as const, ports: "80,443" }];
    const refused =
      "farm mail sends to 203.0.113.10 tcp 80, which farm web claims on the same gateway edge-1; " +
      "a packet is translated once, so give farm mail the backends themselves";
    const mail = () => farm("mail", { listeners, backends: [backend] });
    expect(await refusal(() => [farm("web"), mail()])).toBe(refused);
    expect(await refusal(() => [mail(), farm("web")])).toBe(refused);
  });

  test("but the other's address on another port may be sent to", async () => {
    const listeners = [{ address: "203.0.113.77", protocol: "tcp" as const, port: 80 }];
    const backends = [{ address: "203.0.113.10", port: 8080 }];
    const made = await run(() => [farm("web"), farm("mail", { listeners, backends })], { preview: true });
    expect(made.map(({ name }) => name)).toContain("mail-edge-1");
  });

  test("an address that another resource gives", async () => {
    const listeners = [
      { address: pulumi.output("203.0.113.10"), protocol: "tcp" as const, port: pulumi.output(80) },
    ];
    expect(await refusal(() => [farm("web"), farm("mail", { listeners })])).toContain(both);
  });

  test("on different gateways they can", async () => {
    const other = { ...EDGE, name: "edge-2" };
    expect(await run(() => [farm("web"), farm("mail", { gateways: [other] })])).toHaveLength(6);
  });

  test("names that run into one", async () => {
    const [a, b] = [
      { ...EDGE, name: "a-b" },
      { ...EDGE, name: "b" },
    ];
    expect(await refusal(() => [farm("web", { gateways: [a] }), farm("web-a", { gateways: [b] })])).toBe(
      "farm web-a on gateway b and farm web on gateway a-b would both have a resource web-a-b; rename one of them",
    );
  });

  test("names that are shortened to one, as two among some ten thousand may be", async () => {
    const [one, other] = ["production-website-8324", "production-website-58367"];
    const listeners = [{ address: "203.0.113.10", protocol: "tcp" as const, port: 25 }];
    expect(await refusal(() => [farm(one!), farm(other!, { listeners })])).toBe(
      `farm ${other} and farm ${one} have the same short name pr--93c1dfda on gateway edge-1, by chance; rename one of them`,
    );
  });

  test("a gateway described differently", async () => {
    expect(await refusal(() => [farm("web"), farm("mail", { gateways: [at({ user: "ops" })] })])).toBe(
      "farm mail and farm web describe gateway edge-1 differently (connection.user); " +
        "keep one description of a gateway and give it to both",
    );
  });
});

/** As much of a resource as a careless program hands over: it refers to itself. */
class FakeResource {
  readonly __pulumiResource = true;
  readonly self = this;
}
