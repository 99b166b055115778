import { describe, expect, it } from "vitest";
import type { FarmSpec } from "../../src/core";
import { ALL_BUT_ZEVENET, addressOf, eachPlane, VIP, VIP6 } from "./plane";
import { Watch } from "./watch";

/** Who may come: lists of thousands of networks, and their changes while everybody dials. */

const COUNT = 4000;

eachPlane({ planes: ALL_BUT_ZEVENET, backends: 3, serve: { tcp: [80], udp: [53] } }, (plane) => {
  /** Of many client addresses every other one, so that no two make a larger network. */
  const even = () => plane.clients(2 * COUNT).filter((_, k) => k % 2 === 0);
  const odd = () => plane.clients(2 * COUNT).filter((_, k) => k % 2 === 1);
  const some = (list: readonly string[]) => list.filter((_, k) => k % 37 === 0 || k === list.length - 1);

  /** Those that get an answer; to all others nothing is said. */
  const served = async (clients: readonly string[]) => {
    const { answers, lost, failures } = await plane.connect({
      fromEach: clients,
      protocol: "udp",
      concurrency: 128,
      timeout: 400,
    });
    expect(failures).toEqual(lost > 0 ? { timeout: lost } : {});
    return answers.map(({ source }) => source).sort();
  };

  const cases: [string, () => Partial<FarmSpec>][] = [
    ["allow", () => ({ allow: even() })],
    ["deny", () => ({ deny: odd() })],
    ["allow and deny, deny before allow", () => ({ allow: plane.clients(2 * COUNT), deny: odd() })],
  ];
  it.each(cases)(`${COUNT} clients: %s`, async (_, lists) => {
    await plane.apply(lists());
    expect(await served([...some(even()), ...some(odd())])).toEqual([...some(even())].sort());
    expect((await plane.connect({ fromEach: some(even()) })).lost).toBe(0);
    const refused = some(odd());
    expect((await plane.connect({ fromEach: refused, timeout: 300 })).timedOut).toBe(refused.length);
  });

  it("networks of every size, and what is just outside of them", async () => {
    const [first] = plane.clients(1);
    const block = first!.split(".").slice(0, 2).join(".");
    const third = Number(first!.split(".")[2]);
    const at = (offset: number, last: number) => `${block}.${third + offset}.${last}`;
    await plane.apply({
      allow: [`${at(0, 0)}/18`],
      deny: [`${at(2, 0)}/23`, `${at(4, 128)}/25`, `${at(5, 7)}/32`, `${at(6, 4)}/30`],
    });
    const denied = [at(2, 1), at(3, 255), at(4, 128), at(4, 255), at(5, 7), at(6, 4), at(6, 7)];
    const beside = [at(1, 255), at(4, 1), at(4, 127), at(5, 6), at(5, 8), at(6, 3), at(6, 8), at(7, 1)];
    expect(await served([...denied, ...beside])).toEqual([...beside].sort());
  });

  it("IPv6 networks beside IPv4 ones", async () => {
    const [six, other] = plane.clients(2, { family: 6 });
    const [four, fourth] = plane.clients(2);
    await plane.apply({
      listeners: [VIP, VIP6].map((address) => ({ address, protocol: "tcp", port: 80 })),
      backends: plane.lab.backendAddresses.map((address) => ({ address })),
      deny: [`${other}/128`, `${fourth}/32`],
    });
    const dial = async (to: string, from: string) =>
      (await plane.connect({ to, from, timeout: 400 })).answers.length;
    expect([await dial(VIP6, six!), await dial(VIP6, other!)]).toEqual([1, 0]);
    expect([await dial(VIP, four!), await dial(VIP, fourth!)]).toEqual([1, 0]);
  });

  it("what is denied reaches neither the gateway nor the uplink", async () => {
    await plane.apply({ deny: odd() });
    const watch = await Watch.start(plane.gateway, [VIP]);
    await watch.expectOnly(plane.backends);
    await served(some(odd()));
    expect(await watch.end()).toMatchObject({ input: 0, forward: 0, good: 0, stray: 0 });
  });

  it("a client that is denied from now on keeps what it has, and gets nothing new", async () => {
    const [client] = odd();
    await plane.apply();
    const held = await plane.hold({ from: client! });
    await plane.apply({ deny: odd() });
    expect(addressOf(await held.ask())).toBe(addressOf(held.first));
    expect((await plane.connect({ from: client!, timeout: 400 })).timedOut).toBe(1);
  });

  describe("changes under load", () => {
    it.each(["allow", "deny"] as const)("of %s lose nobody who is served by old and new", async (list) => {
      const always = even();
      const sometimes = odd();
      const halves = [sometimes.slice(0, COUNT / 2), sometimes.slice(COUNT / 2)];
      const change = (half: readonly string[]) =>
        plane.apply({ [list]: list === "allow" ? [...always, ...half] : [...half] });
      await change(halves[0]!);
      const streams = await Promise.all(
        (["tcp", "udp"] as const).map((protocol) =>
          plane.lab.client.steady({
            to: VIP,
            port: protocol === "tcp" ? 80 : 53,
            protocol,
            fromEach: some(always),
            every: 5,
          }),
        ),
      );
      let n = 0;
      for (const until = performance.now() + 2000; n < 5 || performance.now() < until; )
        await change(halves[++n % 2]!);
      for (const stream of streams) {
        const { lost, slow, count } = await stream.stop();
        expect({ lost, slow }).toEqual({ lost: [], slow: 0 });
        expect(count).toBeGreaterThan(50);
      }
      const [now, then] = [halves[n % 2]!, halves[(n + 1) % 2]!].map((half) => some(half));
      const expected = list === "allow" ? now! : then!;
      expect(await served([...then!, ...now!])).toEqual([...expected].sort());
    });
  });
});
