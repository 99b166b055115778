import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { FarmSpec, ListenerSpec, TargetSpec } from "../../src/core";
import { fault, sweep } from "../faults/fault";
import { applyFarm, installTool, removeFarm, TARGETS } from "../support/farms";
import { Lab } from "../support/lab";
import { randomFarms, randomNumbers } from "./random-farm";
import { LOCAL, ROUTED, Scene, SERVED, UNDISTURBED } from "./scene";
import { Watch } from "./watch";

/**
 * Changes under full load: no connection is lost, and none passes untranslated, at any moment.
 *
 * `RELOADS=1000` makes it a long run of that many changes for each target, `SEED=2` one of others; the numbers of each go
 * to standard output.
 */
const LONG = process.env.RELOADS === undefined ? undefined : Number(process.env.RELOADS);
const SEED = Number(process.env.SEED ?? 1);
const NFTABLES: TargetSpec = { dataPlane: "nftables" };
const NAT: TargetSpec = { dataPlane: "iptables" };
const ZEVENET: TargetSpec = { dataPlane: "iptables", layout: "zevenet" };
/** From nftables to nftables, by every pair, both ways. */
const ROUND = [NAT, NFTABLES, ZEVENET, NAT, ZEVENET, NFTABLES];

describe.each(["nft", "legacy"] as const)("where iptables is iptables-%s", (iptables) => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await Lab.create({ gateways: [{ name: "edge-1", iptables }], backends: 5 });
    // Without the lock on what is forwarded, which would hide what leaks.
    await installTool(lab.gateway(), { dataPlane: "nftables", lockForward: false });
    await lab.backends.serve({ tcp: [80, 8080], udp: [53, 8080] });
    // UDP flows end sooner, so that the table of connections does not fill up.
    await lab.gateway().sh(`ip addr add ${LOCAL}/32 dev lo
      cd /proc/sys/net/netfilter && echo 5 >nf_conntrack_udp_timeout && echo 5 >nf_conntrack_udp_timeout_stream`);
  });

  afterAll(() => lab?.close());

  let opened: Scene | undefined;
  const open = () => {
    opened = new Scene(lab);
    return opened;
  };
  afterEach(async () => {
    await opened?.close();
    opened = undefined;
  });

  // nftables is the same on both.
  const targets = TARGETS.filter(([, { dataPlane }]) => iptables === "nft" || dataPlane === "iptables");

  const farms = (seed = SEED) =>
    randomFarms({
      served: SERVED,
      backends: lab.backendAddresses,
      otherPort: 8080,
      random: randomNumbers(seed),
    });

  const farm = (listeners: ListenerSpec[], more: Partial<FarmSpec> = {}): FarmSpec => ({
    listeners,
    backends: lab.backendAddresses.map((address) => ({ address })),
    ...more,
  });
  const four = (addresses: readonly string[]) => addresses.map((address) => ({ address }));
  const listeners = (): ListenerSpec[] => SERVED.map((each) => ({ ...each }));

  describe.each(targets)("%s", (label, target) => {
    const count = LONG ?? (target.dataPlane === "nftables" ? 30 : 10);

    it(
      "takes changes of everything",
      async () => {
        const scene = open();
        const changes = farms();
        await scene.apply("web", changes.next().value, target);
        await scene.begin();
        const kept = await hold([LOCAL, ROUTED]);
        for (let n = 1; n < count; n++) {
          await scene.apply("web", changes.next().value, target);
          if (n % 5 === 0) await stillThere(kept);
        }
        await stillThere(kept);
        await letGo(kept);
        const result = await scene.end();
        if (LONG)
          console.log(`${iptables}: ${label}: ${count} changes, seed ${SEED}:`, JSON.stringify(result));
        expect(result).toMatchObject(UNDISTURBED);
        expect(result.good).toBeGreaterThanOrEqual(result.count);
      },
      30_000 + count * 3_000,
    );

    it("follows a farm that is renamed, and a listener that moves to another farm", async () => {
      const scene = open();
      const [first, ...others] = listeners();
      await scene.apply("web", farm(listeners()), target);
      await scene.begin();
      await rename(scene, "web", "site", target);
      // One listener leaves for a farm of its own, and comes back.
      await scene.apply("shop", farm([first!], { backends: four(lab.backends4.slice(0, 2)) }), target);
      await scene.apply("site", farm(others), target);
      await scene.apply("site", farm(listeners(), { sourceNat: "masquerade" }), target);
      await scene.remove("shop");
      expect(await scene.end()).toMatchObject(UNDISTURBED);
    });

    it("is not disturbed by an identical apply, restore and verify", async () => {
      const scene = open();
      const spec = farm([{ address: LOCAL, protocol: "tcp" }, ...listeners().slice(1)]);
      await scene.apply("web", spec, target);
      await scene.begin();
      const turns = await turnsOf("turns", target, async () => {
        for (let n = 0; n < 2; n++) {
          expect(await scene.apply("web", spec, target)).toContain("unchanged");
          expect(await scene.gateway.sh("netfilter-lb verify")).toContain("in step");
          expect(await scene.gateway.sh("netfilter-lb restore")).toContain("restored");
        }
      });
      expect(await scene.end()).toMatchObject(UNDISTURBED);
      expect(turns.broken).toBe(0);
    });

    it("is not disturbed by its neighbours", async () => {
      const scene = open();
      const [first, ...others] = listeners();
      const spec = (backends: readonly string[]) => farm([first!], { backends: four(backends) });
      await scene.apply("a", spec(lab.backends4), target);
      await scene.apply("b", farm(others), target);
      await scene.begin();
      const kept = await hold([ROUTED]);
      const changes = 6;
      const turns = await turnsOf("turns", target, async () => {
        for (let n = 0; n < changes; n++)
          await scene.apply("a", spec(lab.backends4.slice(0, 1 + (n % 5))), target);
      });
      await stillThere(kept);
      await letGo(kept);
      expect(await scene.end()).toMatchObject(UNDISTURBED);
      // iptables-legacy gives the kernel its whole table anew, and every `nth` counter begins again with it. A change
      // commits a table twice at most.
      const begun = iptables === "legacy" ? 2 * changes : 0;
      expect(turns.taken).toBeGreaterThan(20);
      expect(turns.broken).toBeLessThanOrEqual(begun);
    });

    it(
      "survives a tool that is killed at any moment",
      async () => {
        const random = randomNumbers(SEED);
        const scene = open();
        const changes = farms(SEED + 1);
        await scene.apply("web", changes.next().value, target);
        await scene.begin();
        const began = performance.now();
        await scene.apply("web", changes.next().value, target);
        const usual = performance.now() - began;
        for (let n = 1; n <= (LONG ?? 6); n++) {
          const after = random() * usual;
          await scene.killedApply("web", changes.next().value, target, { after, group: n % 2 === 0 });
          if (n % 3 === 0) {
            await scene.apply("web", changes.next().value, target);
            expect(await scene.gateway.sh("netfilter-lb verify")).toContain("in step");
          }
        }
        const result = await scene.end();
        if (LONG) console.log(`${iptables}: ${label}: ${LONG} killed:`, JSON.stringify(result));
        expect(result).toMatchObject(UNDISTURBED);
      },
      60_000 + (LONG ?? 0) * 3_000,
    );

    it("takes a flow over that began before the farm", async () => {
      const flows = await Promise.all(
        [LOCAL, ROUTED].map((to, n) =>
          lab.client.open({ to, port: 53, protocol: "udp", fromPort: 40_001 + n, timeout: 100 }),
        ),
      );
      expect(flows.map(({ first }) => first)).toEqual(flows.map(() => ({ failure: "timeout" })));
      await applyFarm(
        lab.gateway(),
        "web",
        farm(
          [
            { address: LOCAL, protocol: "udp", port: 53 },
            { address: ROUTED, protocol: "udp" },
          ],
          { backends: four(lab.backends4) },
        ),
        target,
      );
      const answers = await Promise.all(flows.map((flow) => flow.ask(1000)));
      for (const flow of flows) await flow.close();
      expect(answers).toMatchObject(flows.map((_, n) => ({ port: 53, sourcePort: 40_001 + n })));
      await removeFarm(lab.gateway(), "web");
    });
  });

  fault(
    32,
    `under load, iptables-${iptables}`,
    async () => {
      const scene = open();
      const changes = farms(SEED + 2);
      await scene.apply("web", changes.next().value, NFTABLES);
      await scene.begin();
      const kept = await hold([LOCAL, ROUTED]);
      const moves = LONG ?? sweep(6, 60);
      for (let n = 0; n < moves; n++)
        await scene.apply("web", changes.next().value, ROUND[n % ROUND.length]!);
      await stillThere(kept);
      await letGo(kept);
      const result = await scene.end();
      if (LONG) console.log(`${iptables}: ${LONG} moves:`, JSON.stringify(result));
      expect(result).toMatchObject(UNDISTURBED);
      return {
        done: `${moves} changes of the data plane or layout under load, each with other listeners, backends and weights (seed ${SEED + 2})`,
        held:
          `${result.lost.length} of ${result.count} connections were lost, ${result.missed} packets were not translated, ` +
          `${result.stray} went to a backend that was none, and ${kept.length} of ${kept.length} open connections went on`,
        saw: "nothing",
      };
    },
    60_000 + (LONG ?? 0) * 4_000,
  );

  it(
    "moves between data planes under another name",
    async () => {
      const scene = open();
      await scene.apply("web", farm(listeners()), NFTABLES);
      await scene.begin();
      for (let n = 0; n < (LONG ?? 6); n++) {
        const [from, to] = n % 2 === 0 ? (["web", "site"] as const) : (["site", "web"] as const);
        await rename(scene, from, to, ROUND[n % ROUND.length]!, SEED + n);
      }
      const result = await scene.end();
      if (LONG) console.log(`${iptables}: ${LONG} moves with another name:`, JSON.stringify(result));
      expect(result).toMatchObject(UNDISTURBED);
    },
    60_000 + (LONG ?? 0) * 4_000,
  );

  // A control: were the counters blind, this would see nothing either. (The same in one transaction leaks too, but not
  // in every run.)
  if (iptables === "nft") {
    it("sees what a table leaks that is deleted and loaded again", async () => {
      const gateway = lab.gateway();
      const elements = lab.backends4.map((address, slot) => `${slot} : ${address}`).join(", ");
      await gateway.write(
        "/run/naive",
        `table ip naive {
          chain nat {
            type nat hook prerouting priority -100
            ip daddr ${ROUTED} dnat to numgen random mod 5 map { ${elements} }
          }
        }\n`,
      );
      await gateway.sh("nft -f /run/naive");
      const watch = await Watch.start(gateway, [ROUTED]);
      await watch.expectOnly(lab.backends4.slice(0, 4));
      const fromEach = lab.clientAddresses("edge-1", 251);
      const stream = await lab.client.steady({
        ...{ to: ROUTED, port: 53, protocol: "udp", fromEach, concurrency: 8, timeout: 200 },
      });
      await gateway.sh("for n in $(seq 30); do nft delete table ip naive; nft -f /run/naive; done");
      const { lost } = await stream.stop();
      const { missed, forward, stray } = await watch.end();
      await gateway.sh("nft delete table ip naive");
      expect(missed).toBeGreaterThan(0);
      expect(forward).toBeGreaterThan(0);
      expect(stray).toBeGreaterThan(0);
      expect(lost.length).toBeGreaterThan(0);
    });
  }

  /** The new owner comes first, with other backends too, then the old one goes. */
  async function rename(scene: Scene, from: string, to: string, target: TargetSpec, seed = SEED) {
    const spec = { ...farms(seed).next().value, listeners: listeners() };
    await scene.apply(to, spec, target);
    expect(await scene.remove(from)).toMatch(/nothing to remove|left alone/);
  }

  /** Connections to backends that every farm here keeps. */
  async function hold(vips: readonly string[]) {
    const held = [];
    for (const to of vips)
      for (let tries = 0; ; tries++) {
        const connection = await lab.client.open({ to, port: 80 });
        const { first } = connection;
        if ("address" in first && first.address === lab.backends4[0]) {
          held.push(connection);
          break;
        }
        await connection.close();
        if (tries > 200) throw new Error(`no connection to ${to} found the first backend`);
      }
    return held;
  }

  async function stillThere(held: Awaited<ReturnType<typeof hold>>): Promise<void> {
    for (const connection of held)
      expect(await connection.ask()).toMatchObject({ address: lab.backends4[0] });
  }

  async function letGo(held: Awaited<ReturnType<typeof hold>>): Promise<void> {
    for (const connection of held) await connection.close();
  }

  /** Takes turns of a farm of its own, on a port that nobody else dials, while something happens. */
  async function turnsOf(name: string, target: TargetSpec, meanwhile: () => Promise<void>) {
    const backends = four(lab.backends4.slice(0, 3));
    const port = 8080;
    const to = "203.0.113.12";
    const spec = farm([{ address: to, protocol: "tcp", port }], { backends, algorithm: "roundRobin" });
    await applyFarm(lab.gateway(), name, spec, target);
    let over = false;
    const watching = (async () => {
      const turns: string[] = [];
      let lost = 0;
      while (!over) {
        const result = await lab.client.connect({ to, port, count: 6, concurrency: 1 });
        turns.push(...result.answers.map(({ address }) => address));
        lost += result.lost;
      }
      return { turns, lost };
    })();
    try {
      await meanwhile();
    } finally {
      over = true;
    }
    const { turns, lost } = await watching;
    expect(lost).toBe(0);
    await removeFarm(lab.gateway(), name);
    const places = turns.map((address) => lab.backends4.indexOf(address));
    const broken = places.filter((place, n) => n > 0 && place !== (places[n - 1]! + 1) % 3).length;
    return { taken: turns.length, broken };
  }
});
