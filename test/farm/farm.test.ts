import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";
import { type GatewayArgs, LoadBalancerFarm, type LoadBalancerFarmArgs } from "../../src";
import { EDGE, farm, HOST_KEY } from "./farms";
import { type Made, run, SECRET, settled, UNKNOWN, unknown } from "./program";

const inputsOf = (made: Made[], name: string) => made.find((resource) => resource.name === name)!.inputs;

describe("a farm makes", () => {
  test("itself, one set-up a gateway, and one set of rules a gateway below itself", async () => {
    const made = await run(() => farm("web", { gateways: [EDGE, { ...EDGE, name: "edge-2" }] }));
    expect(made.map(({ type, name, parent }) => [type, name, parent])).toEqual(
      expect.arrayContaining([
        ["netfilter-lb:index:LoadBalancerFarm", "web", undefined],
        ["command:remote:Command", "netfilter-lb-edge-1", undefined],
        ["command:remote:Command", "netfilter-lb-edge-2", undefined],
        ["command:remote:Command", "web-edge-1", "web"],
        ["command:remote:Command", "web-edge-2", "web"],
      ]),
    );
    expect(made).toHaveLength(5);
  });

  test("one set-up of a gateway that two farms share", async () => {
    const made = await run(() => [
      farm("web"),
      farm("mail", { listeners: [{ address: "203.0.113.10", protocol: "tcp", port: 25 }] }),
    ]);
    expect(made.map(({ name }) => name).sort()).toEqual([
      "mail",
      "mail-edge-1",
      "netfilter-lb-edge-1",
      "web",
      "web-edge-1",
    ]);
  });

  test("a set-up of a gateway for each run of a program", async () => {
    for (let i = 0; i < 2; i++) expect(await run(() => farm("web"))).toHaveLength(3);
  });

  test("the set-up's own name from the host where the gateway has none", async () => {
    const { name: _, ...nameless } = EDGE;
    const made = await run(() => farm("web", { gateways: [nameless] }));
    expect(made.map(({ name }) => name)).toContain("web-198.51.100.7");
  });

  test("nothing where it only refers to a farm that is there", async () => {
    const made = await run(async () => {
      const urn = await settled(farm("web").urn);
      new LoadBalancerFarm("same", {} as LoadBalancerFarmArgs, { urn });
    });
    expect(made).toHaveLength(3);
  });
});

describe("the rules of a gateway", () => {
  test("stand in standard input and nothing else does, so that a diff is one of rules", async () => {
    const inputs = inputsOf(await run(() => farm("web")), "web-edge-1");
    expect(inputs.stdin).toMatch(/^# netfilter-lb rule set 1\n# farm web\n/);
    expect(Object.keys(inputs).sort()).toEqual(
      ["addPreviousOutputInEnv", "connection", "create", "delete", "logging", "stdin", "triggers"].sort(),
    );
  });

  test("are replaced with the gateway's set-up, and removed before it", async () => {
    const rules = (await run(() => farm("web"))).find(({ name }) => name === "web-edge-1")!;
    expect(rules.inputs.triggers).toEqual(["netfilter-lb-edge-1-id"]);
    expect(rules.deleteBeforeReplace).toBe(true);
  });

  test("and the set-up keep and print nothing of a call, and have no command of their own for an update", async () => {
    const made = await run(() => farm("web"));
    for (const name of ["web-edge-1", "netfilter-lb-edge-1"]) {
      const inputs = inputsOf(made, name);
      expect(inputs).toMatchObject({ addPreviousOutputInEnv: false, logging: "none" });
      expect(inputs).not.toHaveProperty("update");
    }
    expect(inputsOf(made, "netfilter-lb-edge-1")).not.toHaveProperty("triggers");
  });

  test("are called for by one short line, which bears the caller's stamp", async () => {
    const { create, delete: remove } = inputsOf(await run(() => farm("web")), "web-edge-1") as Record<
      string,
      string
    >;
    expect(create).toMatch(
      /^\/usr\/local\/sbin\/netfilter-lb apply web --owner project\/stack\/edge-1 --length \d+ --sha256 [0-9a-f]{64} --ssh "\$SSH_CONNECTION"$/,
    );
    expect(remove).toContain("netfilter-lb remove web --owner project/stack/edge-1");
  });

  test("are reached as the user said, without our own fields", async () => {
    const connection = { host: "198.51.100.7", port: 2222, user: "ops", insecureIgnoreHostKey: true };
    const made = await run(() => farm("web", { gateways: [{ ...EDGE, connection, sudo: true }] }));
    // The provider's own defaults stand beside what the user said.
    const sent = { host: "198.51.100.7", port: 2222, user: "ops", dialErrorLimit: 10, perDialTimeout: 15 };
    for (const { revealed, type } of made)
      if (type === "command:remote:Command") expect(revealed.connection).toEqual(sent);
    expect(inputsOf(made, "web-edge-1").connection).toBe(SECRET);
    expect(inputsOf(made, "web-edge-1").create).toMatch(/^sudo -n /);
    expect(inputsOf(made, "netfilter-lb-edge-1").create).toMatch(/^sudo -n /);
  });

  test("of a machine that is gone are left alone", async () => {
    const made = await run(() => farm("web", { gateways: [{ ...EDGE, gone: true }] }));
    expect(
      made
        .filter(({ type }) => type === "command:remote:Command")
        .map(({ retainOnDelete }) => retainOnDelete),
    ).toEqual([true, true]);
    const kept = await run(() => farm("web"));
    expect(kept.some(({ retainOnDelete }) => retainOnDelete)).toBe(false);
  });
});

describe("the tool", () => {
  test("is installed by the farm", async () => {
    const { create, stdin } = inputsOf(await run(() => farm("web")), "netfilter-lb-edge-1");
    expect(stdin).toMatch(/^#!\/bin\/sh\n/);
    expect(create).toContain("mktemp");
  });

  test("or by the machine's owner: then nothing is sent, and nothing uninstalled", async () => {
    const made = await run(() => farm("web", { gateways: [{ ...EDGE, tool: "preinstalled" }] }));
    const { create, delete: retire, stdin } = inputsOf(made, "netfilter-lb-edge-1");
    expect(stdin).toBeUndefined();
    expect(create).toContain(
      "said=$(/usr/local/sbin/netfilter-lb prepare --owner project/stack/edge-1 --version 1 --plane nftables) ",
    );
    expect(retire).not.toContain("--uninstall");
  });
});

describe("the lock on what is forwarded", () => {
  test.each([
    ["on", true, "--plane nftables --lock-forward on"],
    ["as another resource says", pulumi.output(true), "--plane nftables --lock-forward on"],
    ["off", false, "--plane nftables --lock-forward off"],
    ["left to the gateway", undefined, "--plane nftables"],
  ])("is %s", async (_, lockForward, options) => {
    for (const tool of ["managed", "preinstalled"] as const) {
      const gateway = { ...EDGE, tool, ...(lockForward !== undefined && { lockForward }) };
      const made = await run(() => farm("web", { gateways: [gateway] }));
      expect(inputsOf(made, "netfilter-lb-edge-1").create).toMatch(
        new RegExp(`--version 1 ${options}( [|][|]|[')])`),
      );
    }
  });
});

describe("what a reviewer reads in the component's inputs", () => {
  test("is a sentence a backend, keyed by the backend", async () => {
    const made = await run(() =>
      farm("web", {
        backends: [
          { address: "10.0.0.3", port: 80, weight: 3 },
          { address: "10.0.0.4", mark: 0x20d },
        ],
        gateways: [
          { ...EDGE, dataPlane: "iptables", layout: "zevenet", interface: "eth0", markMask: 0xffff },
        ],
        sourceNat: "vip",
      }),
    );
    expect(inputsOf(made, "web")).toEqual({
      algorithm: "random",
      backends: {
        "10.0.0.3:80": expect.stringMatching(/^weight 3, share 0\.75, mark 0x[0-9a-f]{1,4}$/),
        "10.0.0.4": "weight 1, share 0.25, mark 0x20d",
      },
      gateways: {
        "edge-1": "iptables, layout zevenet, interface eth0, mark mask 0xffff, at 198.51.100.7 port 22",
      },
      listeners: { "203.0.113.10 tcp": "80" },
      sourceNat: "vip",
    });
  });

  test.each([
    [[1], ["1.00"]],
    [
      [1, 1, 1],
      ["0.3333", "0.3333", "0.3333"],
    ],
    [
      [3, 2],
      ["0.60", "0.40"],
    ],
    [
      [1023, 1],
      ["0.999", "0.0009766"],
    ],
  ])("shares of weights %j read %j", async (weights, texts) => {
    const made = await run(() =>
      farm("web", { backends: weights.map((weight, i) => ({ address: `10.0.0.${i + 3}`, weight })) }),
    );
    const backends = Object.values(inputsOf(made, "web").backends as Record<string, string>);
    expect(backends.map((text) => /share ([\d.]+),/.exec(text)![1])).toEqual(texts);
  });

  test.each([
    ["80,443,8000-8080", "80, 443, 8000-8080"],
    [undefined, "every port"],
  ])("ports %s read %s", async (ports, text) => {
    const listeners = [{ address: "203.0.113.10", protocol: "tcp" as const, ...(ports && { ports }) }];
    const made = await run(() => farm("web", { listeners }));
    expect(inputsOf(made, "web").listeners).toEqual({ "203.0.113.10 tcp": text });
  });
});

describe("what a reviewer reads of", () => {
  const describe = async (fields: Partial<LoadBalancerFarmArgs>) =>
    inputsOf(await run(() => farm("web", fields)), "web");

  test("backends that new connections are not given to, or not all", async () => {
    const { backends } = await describe({
      backends: [
        { address: "10.0.0.3", mark: 3, weight: 3, maxConnections: 10_000 },
        { address: "10.0.0.4", mark: 4 },
        { address: "10.0.0.5", mark: 5, state: "drain", maxConnections: 100 },
        { address: "10.0.0.6", mark: 6, state: "down" },
        { address: "10.0.0.7", mark: 7, priority: 10 },
      ],
    });
    expect(backends).toEqual({
      "10.0.0.3": "weight 3, share 0.75, mark 0x3, at most 10,000 connections",
      "10.0.0.4": "weight 1, share 0.25, mark 0x4",
      "10.0.0.5": "weight 1, share 0.00, mark 0x5, drain, at most 100 connections",
      "10.0.0.6": "weight 1, share 0.00, mark 0x6, down",
      "10.0.0.7": "weight 1, share 0.00, mark 0x7, standby (priority 10)",
    });
  });

  test("a farm that nobody serves", async () => {
    const backends = [{ address: "10.0.0.3", mark: 3, state: "down" as const }];
    expect(await describe({ backends, whenEmpty: "drop" })).toMatchObject({
      backends: { "10.0.0.3": "weight 1, share 0.00, mark 0x3, down" },
      whenEmpty: "drop",
    });
  });

  const BOTH: Partial<LoadBalancerFarmArgs> = {
    listeners: ["203.0.113.10", "2001:db8:ffff::10"].map((address) => ({
      address,
      protocol: "tcp",
      port: 80,
    })),
    backends: [{ address: "10.0.0.3" }, { address: "2001:db8::3" }],
  };
  test.each<[string, Partial<LoadBalancerFarmArgs>, string]>([
    ["flows", { algorithm: "flowHash" }, "flowHash, 4,096 slots"],
    ["addresses", { algorithm: "sourceHash", prefixLength: 32, slots: 64 }, "sourceHash, 64 slots"],
    ["networks", { algorithm: "sourceHash", prefixLength: 24 }, "sourceHash of IPv4 /24, 4,096 slots"],
    [
      "networks of both families",
      { ...BOTH, algorithm: "sourceHash", prefixLength: 24, prefixLength6: 56 },
      "sourceHash of IPv4 /24 and IPv6 /56, 4,096 slots",
    ],
  ])("a hash of %s", async (_, fields, algorithm) => {
    expect(await describe(fields)).toMatchObject({ algorithm });
  });

  test.each<[string, Partial<LoadBalancerFarmArgs>, string]>([
    ["as it is guessed", {}, "auto, masquerade for 10.0.0.0/24"],
    [
      "as it is given",
      { localNetworks: ["10.1.0.0/16", "10.0.0.0/16"] },
      "auto, masquerade for 10.0.0.0/16, 10.1.0.0/16",
    ],
  ])("who is masqueraded, %s", async (_, fields, sourceNat) => {
    expect(await describe({ ...fields, sourceNat: "auto" })).toMatchObject({ sourceNat });
  });

  const always = ["algorithm", "backends", "gateways", "listeners", "sourceNat"];
  test.each<[keyof LoadBalancerFarmArgs, Partial<LoadBalancerFarmArgs>, unknown]>([
    [
      "affinity",
      { affinity: { by: "sourceIp", timeoutSeconds: 1800 } },
      "by sourceIp, 1,800 s, at most 65,536 clients",
    ],
    [
      "pins",
      {
        pins: [
          { source: "198.51.100.0/24", backend: "10.0.0.3" },
          { source: "198.51.100.7", backend: "10.0.0.4" },
        ],
      },
      { "198.51.100.7": "10.0.0.4", "198.51.100.0/24": "10.0.0.3" },
    ],
    [
      "limits",
      {
        limits: {
          maxConnections: 1000,
          newConnectionsPerSecond: 100,
          perSource: { newConnectionsPerSecond: 5, burst: 10 },
        },
      },
      "at most 1,000 connections, 100 new a second (burst 100), 5 new a second (burst 10) from each client",
    ],
    ["allow", { allow: ["198.51.100.7", "192.0.2.0/24", "192.0.2.7"] }, "192.0.2.0/24, 198.51.100.7"],
    ["deny", { deny: ["198.51.100.0/24"] }, "198.51.100.0/24"],
    ["deny", { deny: [] }, "nobody"],
    ["whenEmpty", { whenEmpty: "reject" }, "reject"],
    ["onRemoval", { onRemoval: "cut" }, "cut"],
    ["looseTcp", { looseTcp: true }, "true"],
    ["helper", { helper: "ftp" }, "ftp"],
    ["log", { log: {} }, "web: at most 10 lines a second (burst 5)"],
    [
      "log",
      { log: { prefix: "shop.", perSecond: 1, burst: 2000 } },
      "shop. at most 1 lines a second (burst 2,000)",
    ],
  ])("%s, where it is asked for, and of nothing else", async (field, fields, text) => {
    const inputs = await describe(fields);
    expect(Object.keys(inputs).sort()).toEqual([...always, field].sort());
    expect(inputs[field]).toEqual(text);
  });

  test("long lists, so that a change shows", async () => {
    const networks = (n: number, from = 0) =>
      Array.from({ length: n }, (_, i) => `10.${(from + i) >> 8}.${(from + i) & 255}.0/24`);
    const deny = async (list: string[]) => (await describe({ deny: list })).deny as string;
    expect((await deny(networks(8))).split(", ")).toEqual(networks(8));
    const long = await deny(networks(4096));
    expect(long).toMatch(/^4,096 networks, sha256 [0-9a-f]{8}$/);
    expect(await deny(networks(4096).reverse())).toBe(long);
    expect(await deny(networks(4096, 1))).not.toBe(long);
  });
});

describe("what other resources get", () => {
  test("shares, marks, probabilities and rule sets", async () => {
    let web!: LoadBalancerFarm;
    const made = await run(() => {
      web = farm("web", { backends: [3, 4, 5].map((host) => ({ address: `10.0.0.${host}`, mark: host })) });
    });
    expect(await settled(web.shares)).toEqual({ "10.0.0.3": 1 / 3, "10.0.0.4": 1 / 3, "10.0.0.5": 1 / 3 });
    expect(await settled(web.marks)).toEqual({ "10.0.0.3": 3, "10.0.0.4": 4, "10.0.0.5": 5 });
    // 1/3 as the kernel keeps it: 715827883 of 2^31.
    expect(await settled(web.probabilities)).toEqual({
      "10.0.0.3": 715827883 / 2 ** 31,
      "10.0.0.4": 0.5,
      "10.0.0.5": 1,
    });
    expect(await settled(web.ruleSets)).toEqual({ "edge-1": inputsOf(made, "web-edge-1").stdin });
  });
});

describe("what other resources get of backends that new connections are not given to", () => {
  const backends: LoadBalancerFarmArgs["backends"] = [
    { address: "10.0.0.3", mark: 3, state: "drain" },
    { address: "10.0.0.4", mark: 4 },
    { address: "10.0.0.5", mark: 5, priority: 10 },
    { address: "10.0.0.6", mark: 6, weight: 3 },
  ];
  const outputsOf = async (fields: Partial<LoadBalancerFarmArgs>) => {
    let web!: LoadBalancerFarm;
    await run(() => {
      web = farm("web", { backends, ...fields });
    });
    return pulumi.all([web.shares, web.marks, web.probabilities]);
  };

  test("a mark, and no share", async () => {
    const [shares, marks, probabilities] = await settled(await outputsOf({}));
    expect(shares).toEqual({ "10.0.0.3": 0, "10.0.0.4": 0.25, "10.0.0.5": 0, "10.0.0.6": 0.75 });
    expect(marks).toEqual({ "10.0.0.3": 3, "10.0.0.4": 4, "10.0.0.5": 5, "10.0.0.6": 6 });
    expect(probabilities).toEqual({ "10.0.0.3": 0, "10.0.0.4": 0.25, "10.0.0.5": 0, "10.0.0.6": 1 });
  });

  test.each(["roundRobin", "sourceHash"] as const)(
    "no probability where none is drawn for: %s",
    async (algorithm) => {
      const [shares, , probabilities] = await settled(await outputsOf({ algorithm }));
      expect(Object.values(probabilities)).toEqual([0, 0, 0, 0]);
      expect(Object.values(shares).reduce((sum, share) => sum + share, 0)).toBe(1);
    },
  );
});

describe("secrets stay where they are", () => {
  const withKey = (fields: Partial<LoadBalancerFarmArgs> = {}) =>
    run(() => {
      const privateKey = pulumi.secret("hunter2");
      return farm("web", {
        gateways: [{ ...EDGE, connection: { host: "198.51.100.7", hostKey: HOST_KEY, privateKey } }],
        ...fields,
      });
    });

  test("a key makes neither the rules nor the description secret, and stands in neither", async () => {
    const made = await withKey();
    expect(inputsOf(made, "web-edge-1").stdin).toMatch(/^# netfilter-lb/);
    expect(JSON.stringify(inputsOf(made, "web"))).not.toContain(SECRET);
    expect(JSON.stringify(made.map(({ inputs }) => inputs))).not.toContain("hunter2");
  });

  test("no field of the connection but the host is among the component's inputs", async () => {
    const connection = { host: "198.51.100.7", user: "somebody", password: "hunter2", hostKey: HOST_KEY };
    const inputs = JSON.stringify(
      inputsOf(await run(() => farm("web", { gateways: [{ ...EDGE, connection }] })), "web"),
    );
    for (const value of ["somebody", "hunter2", HOST_KEY]) expect(inputs).not.toContain(value);
  });

  test("a secret address of a backend makes the rules secret", async () => {
    const made = await withKey({ backends: [{ address: pulumi.secret("10.0.0.3") }] });
    expect(inputsOf(made, "web-edge-1").stdin).toBe(SECRET);
  });
});

describe("what is known only after an update", () => {
  test("leaves the rules unknown in the preview, and everything else as it is", async () => {
    const made = await run(() => farm("web", { backends: [{ address: unknown<string>() }] }), {
      preview: true,
    });
    expect(inputsOf(made, "web-edge-1")).toMatchObject({ stdin: UNKNOWN, create: UNKNOWN });
    expect(inputsOf(made, "web-edge-1").delete).toContain("netfilter-lb remove web");
    expect(inputsOf(made, "netfilter-lb-edge-1").create).toContain("netfilter-lb");
  });

  const later = <T>() => unknown<T>();
  test.each<[string, Partial<LoadBalancerFarmArgs>]>([
    [
      "a backend",
      { backends: [{ address: "10.0.0.3", state: later(), priority: later(), maxConnections: later() }] },
    ],
    ["a hash", { algorithm: later(), prefixLength: later(), slots: later() }],
    ["affinity", { affinity: { by: later(), timeoutSeconds: later(), maxEntries: later() } }],
    ["a pin", { pins: [{ source: later(), backend: later() }] }],
    [
      "limits",
      {
        limits: { maxConnections: later(), perSource: { newConnectionsPerSecond: later(), burst: later() } },
      },
    ],
    ["a list", { allow: later(), deny: later(), sourceNat: "auto", localNetworks: later() }],
    ["a network of a list", { allow: ["198.51.100.0/24", later()], deny: [later()] }],
    ["a log", { log: { prefix: later(), perSecond: later(), burst: later() } }],
    [
      "the rest",
      { minActive: later(), whenEmpty: later(), onRemoval: later(), looseTcp: later(), helper: later() },
    ],
  ])("so may every part of %s be", async (_, fields) => {
    const made = await run(() => farm("web", fields), { preview: true });
    expect(inputsOf(made, "web-edge-1").stdin).toBe(UNKNOWN);
  });

  test("and is the same as a plain value once it is known", async () => {
    const fields = {
      backends: [
        { address: "10.0.0.3", maxConnections: 5 },
        { address: "10.0.0.4", state: "drain" as const },
      ],
      affinity: { by: "sourceIp" as const, timeoutSeconds: 60 },
      pins: [{ source: "198.51.100.0/24", backend: "10.0.0.3" }],
      limits: { perSource: { newConnectionsPerSecond: 5 } },
      deny: ["198.51.100.0/24"],
      log: { prefix: "web:" },
      whenEmpty: "drop" as const,
    };
    const given = {
      backends: [
        { address: "10.0.0.3", maxConnections: pulumi.output(5) },
        { address: "10.0.0.4", state: Promise.resolve("drain" as const) },
      ],
      affinity: { by: pulumi.output("sourceIp" as const), timeoutSeconds: pulumi.output(60) },
      pins: [{ source: pulumi.output("198.51.100.0/24"), backend: pulumi.output("10.0.0.3") }],
      limits: { perSource: { newConnectionsPerSecond: pulumi.output(5) } },
      deny: pulumi.output(["198.51.100.0/24"]),
      log: { prefix: pulumi.output("web:") },
      whenEmpty: pulumi.output("drop" as const),
    };
    const plain = await run(() => farm("web", fields));
    const later = await run(() => farm("web", given));
    for (const name of ["web", "web-edge-1"]) expect(inputsOf(later, name)).toEqual(inputsOf(plain, name));
  });

  test("a gateway's host may be such a value, given a name", async () => {
    const gateways: GatewayArgs[] = [{ ...EDGE, connection: { host: unknown<string>(), hostKey: HOST_KEY } }];
    const made = await run(() => farm("web", { gateways }), { preview: true });
    expect(inputsOf(made, "web-edge-1").stdin).toMatch(/^# netfilter-lb/);
  });
});
