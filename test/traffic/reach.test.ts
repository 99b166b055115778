import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { FarmSpec, ListenerSpec } from "../../src/core";
import { applyFarm, installTool, removeFarm, TARGETS } from "../support/farms";
import { Lab } from "../support/lab";

/** What a packet meets: which ports are balanced, what a backend sees, what is left alone. */

const VIP = "203.0.113.10";
const VIP6 = "2001:db8:a::10";

let lab: Lab;

beforeAll(async () => {
  lab = await Lab.create({ backends: 3 });
  await installTool(lab.gateway());
  await lab.backends.serve({ tcp: [80, 443, 8000, 8040, 8080, 8081, 9000], udp: [53, 80] });
});

afterAll(() => lab?.close());

describe.each(TARGETS)("%s", (_, target) => {
  const apply = (
    listener: Partial<ListenerSpec>,
    more: Partial<FarmSpec> = {},
    on: Partial<typeof target> = {},
  ) =>
    applyFarm(
      lab.gateway(),
      "web",
      {
        listeners: [{ address: VIP, protocol: "tcp", ...listener }],
        backends: lab.backends4.map((address) => ({ address })),
        ...more,
      },
      { ...target, ...on },
    );

  /** What a connection from the client ended in: the backend's answer, or how it failed. */
  const dial = async (port: number, options: { to?: string; protocol?: "tcp" | "udp" } = {}) => {
    const { answers, failures } = await lab.client.connect({ to: VIP, port, timeout: 400, ...options });
    return answers[0] ?? Object.keys(failures)[0];
  };

  afterEach(() => removeFarm(lab.gateway(), "web"));

  describe("ports", () => {
    it("takes every port of a list and every port of a range, and none beside them", async () => {
      await apply({ ports: "80,8000-8080" });
      for (const port of [80, 8000, 8040, 8080])
        expect(await dial(port), `port ${port}`).toMatchObject({ port });
      // The virtual IP is no address of the gateway's, and its network is not routed further.
      for (const port of [443, 8081]) expect(await dial(port), `port ${port}`).toBeTypeOf("string");
    });

    it("takes every port of a protocol, and no other protocol", async () => {
      await apply({});
      for (const port of [80, 9000]) expect(await dial(port)).toMatchObject({ port });
      expect(await dial(53, { protocol: "udp" })).toBeTypeOf("string");
    });

    it("takes every protocol, ICMP echo included", async () => {
      await apply({ protocol: "all" });
      expect(await dial(443)).toMatchObject({ port: 443 });
      expect(await dial(53, { protocol: "udp" })).toMatchObject({ port: 53 });
      expect(await lab.client.sh(`busybox ping -c 1 -W 1 ${VIP}`)).toContain("1 packets received");
    });

    it("sends to the backend's own port, beside backends that keep the dialled one", async () => {
      const [a, b] = lab.backends4;
      await apply(
        { port: 80 },
        { backends: [{ address: a!, port: 9000 }, { address: b! }], algorithm: "roundRobin" },
      );
      const { answers } = await lab.client.connect({ to: VIP, port: 80, count: 4, concurrency: 1 });
      expect(answers.map(({ address, port }) => `${address}:${port}`)).toEqual([
        `${a}:9000`,
        `${b}:80`,
        `${a}:9000`,
        `${b}:80`,
      ]);
    });

    it("tells tcp from udp on one port", async () => {
      await apply({ port: 80, protocol: "udp" });
      expect(await dial(80, { protocol: "udp" })).toMatchObject({ port: 80 });
      expect(await dial(80)).toBeTypeOf("string");
    });

    it("has listeners of several protocols share one farm", async () => {
      const listeners = [
        { address: VIP, protocol: "tcp", port: 80 },
        { address: VIP, protocol: "udp", port: 53 },
      ] as const;
      const backends = lab.backends4.map((address) => ({ address, port: 80 }));
      await apply({}, { listeners: [...listeners], backends, algorithm: "roundRobin" });
      const seen = [await dial(80), await dial(53, { protocol: "udp" }), await dial(80)].map((answer) =>
        typeof answer === "string" ? answer : answer?.address,
      );
      expect(seen).toEqual(lab.backends4);
    });
  });

  describe("the source that a backend sees", () => {
    const client = () => lab.clientAddress("edge-1");

    it.each([
      ["none", () => client()],
      [
        "masquerade",
        () =>
          lab
            .gateway()
            .sh("ip -4 -o addr show eth1")
            .then((line) => / inet ([\d.]+)/.exec(line)![1]!),
      ],
      ["vip", () => VIP],
      ["192.0.2.250", () => "192.0.2.250"],
    ])("sourceNat %s", async (sourceNat, expected) => {
      // An address that is nobody's: the backends' way back to it leads through the gateway.
      await lab.backends.sh(
        `ip route replace 192.0.2.250 via $(ip route show default | awk '{ print $3; exit }')`,
      );
      await apply({ port: 80 }, { sourceNat });
      expect(await dial(80)).toMatchObject({ source: await expected() });
    });

    it("is right for each of several virtual IPs", async () => {
      const listeners = [VIP, "203.0.113.11"].map(
        (address) => ({ address, protocol: "tcp", port: 80 }) as const,
      );
      await apply({}, { listeners, sourceNat: "vip" });
      for (const { address } of listeners)
        expect(await dial(80, { to: address })).toMatchObject({ source: address });
    });
  });

  it("carries udp, one choice a flow", async () => {
    await apply({ protocol: "udp", port: 53 }, { algorithm: "roundRobin" });
    const { counts, lost } = await lab.client.connect({
      to: VIP,
      port: 53,
      protocol: "udp",
      count: 30,
      concurrency: 1,
    });
    expect(lost).toBe(0);
    expect(Object.values(counts)).toEqual([10, 10, 10]);
    const flow = await lab.client.open({ to: VIP, port: 53, protocol: "udp" });
    const answers = [flow.first, await flow.ask(), await flow.ask()];
    await flow.close();
    expect(
      new Set(answers.map((answer) => ("address" in answer ? answer.address : answer.failure))).size,
    ).toBe(1);
  });

  it("chooses once for a flow that never gets an answer", async () => {
    await apply({ protocol: "udp", port: 5000 }, { algorithm: "roundRobin" });
    await lab.client.send({ to: VIP, port: 5000, fromPort: 41000, count: 20 });
    const tracked = await lab.gateway().sh("conntrack -L -p udp --orig-port-dst 5000 2>/dev/null");
    expect(tracked.trim().split("\n")).toHaveLength(1);
    // Twenty packets were one turn: the next three flows go to the other two backends, then around.
    const flows = [41001, 41002, 41003];
    for (const fromPort of flows) await lab.client.send({ to: VIP, port: 5000, fromPort });
    const table = await lab.gateway().sh("conntrack -L -p udp --orig-port-dst 5000 2>/dev/null");
    const backend = (sport: number) =>
      new RegExp(`sport=${sport} .*? src=(\\S+) dst=`).exec(
        table.split("\n").find((line) => line.includes(`sport=${sport} `))!,
      )?.[1];
    expect(new Set([backend(41000), backend(41001), backend(41002)]).size).toBe(3);
    expect(backend(41003)).toBe(backend(41000));
  });

  it.each([
    ["the whole mark", undefined],
    ["some bits of the mark", 0x00ff0000],
  ])("moves a udp flow whose backend leaves, and no other (%s)", async (_, markMask) => {
    const [a, b, c] = lab.backends4.map((address) => ({ address }));
    const set = (backends: (typeof a)[]) =>
      apply(
        { port: 53, protocol: "udp" },
        { backends: backends.map((backend) => backend!), algorithm: "roundRobin" },
        { ...(markMask && { markMask }) },
      );
    await set([a, b, c]);
    const flows = await Promise.all(
      [1, 2, 3, 4, 5, 6].map(() => lab.client.open({ to: VIP, port: 53, protocol: "udp" })),
    );
    const servers = (answers: readonly object[]) =>
      answers.map((answer) => (answer as { address?: string }).address);
    const before = servers(flows.map(({ first }) => first));
    expect(new Set(before).size).toBe(3);
    await set([b, c]);
    const after = servers(await Promise.all(flows.map((flow) => flow.ask(1000))));
    await Promise.all(flows.map((flow) => flow.close()));
    expect(after).not.toContain(a!.address);
    expect(after).not.toContain(undefined);
    expect(after.filter((_, i) => before[i] !== a!.address)).toEqual(
      before.filter((server) => server !== a!.address),
    );
  });

  it("carries IPv6", async () => {
    await apply(
      {},
      {
        listeners: [{ address: VIP6, protocol: "tcp", port: 80 }],
        backends: lab.backends6.map((address, i) => ({ address, ...(i === 0 && { port: 9000 }) })),
        algorithm: "roundRobin",
        sourceNat: "vip",
      },
    );
    const { answers, lost } = await lab.client.connect({ to: VIP6, port: 80, count: 6, concurrency: 1 });
    expect(lost).toBe(0);
    expect(answers.map(({ address, port }) => `${address} ${port}`)).toEqual(
      [0, 1, 2, 0, 1, 2].map((i) => `${lab.backends6[i]} ${i === 0 ? 9000 : 80}`),
    );
    expect(answers[0]!.source).toBe(VIP6);
  });

  it("keeps IPv4 and IPv6 of one farm apart", async () => {
    await apply(
      {},
      {
        listeners: [VIP, VIP6].map((address) => ({ address, protocol: "tcp", port: 80 }) as const),
        backends: lab.backendAddresses.map((address) => ({ address })),
      },
    );
    const four = await lab.client.connect({ to: VIP, port: 80, count: 30 });
    const six = await lab.client.connect({ to: VIP6, port: 80, count: 30 });
    expect(four.lost + six.lost).toBe(0);
    expect(Object.keys(four.counts).every((address) => lab.backends4.includes(address))).toBe(true);
    expect(Object.keys(six.counts).every((address) => lab.backends6.includes(address))).toBe(true);
  });

  it("balances the gateway's own connections", async () => {
    await apply({ port: 80 }, { algorithm: "roundRobin" });
    const { counts, lost } = await lab.gateway().connect({ to: VIP, port: 80, count: 6, concurrency: 1 });
    expect(lost).toBe(0);
    expect(Object.values(counts)).toEqual([2, 2, 2]);
  });

  it("balances only what enters by the interface that is named", async () => {
    await apply({ port: 80 }, {}, { interface: "eth0" });
    expect(await dial(80)).toMatchObject({ port: 80 });
    const own = await lab.gateway().connect({ to: VIP, port: 80, timeout: 400 });
    expect(own.lost).toBe(1);
    await apply({ port: 80 }, {}, { interface: "eth7" });
    expect(await dial(80)).toBeTypeOf("string");
  });

  it("serves where the machine's FORWARD policy is DROP", async () => {
    await lab.gateway().sh("iptables -P FORWARD DROP");
    try {
      await apply({ port: 80 });
      const { lost } = await lab.client.connect({ to: VIP, port: 80, count: 20 });
      expect(lost).toBe(0);
      // What is not a farm's stays shut.
      const around = await lab.client.connect({ to: lab.backends4[0]!, port: 80, timeout: 400 });
      expect(around.lost).toBe(1);
    } finally {
      await lab.gateway().sh("iptables -P FORWARD ACCEPT");
    }
  });

  it("drops what is addressed to a service but cannot be translated", async () => {
    const gateway = lab.gateway();
    const seen = async () =>
      Number(/packets (\d+)/.exec(await gateway.sh("nft list counter ip watch seen"))![1]);
    await gateway.sh(`ip addr add ${VIP}/32 dev lo; echo 0 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose`);
    await gateway.sh(
      `nft 'table ip watch { counter seen { }; chain c { type filter hook input priority 0; ip daddr ${VIP} counter name seen; }; }'`,
    );
    try {
      await apply({ port: 80 });
      const held = await lab.client.open({ to: VIP, port: 80 });
      expect(held.first).toHaveProperty("address");
      // Without its entry, what the connection sends is INVALID to conntrack, which NAT leaves alone.
      await gateway.sh("conntrack -F 2>/dev/null");
      expect(await held.ask(500)).toEqual({ failure: "timeout" });
      expect(await seen()).toBe(0);
      // Nothing but the farm kept it out.
      await removeFarm(gateway, "web");
      await held.ask(1500);
      expect(await seen()).toBeGreaterThan(0);
      await held.close();
    } finally {
      await gateway.sh(`nft delete table ip watch; ip addr del ${VIP}/32 dev lo`);
    }
  });
});
