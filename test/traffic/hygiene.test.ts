import { expect, it } from "vitest";
import { ALL, addressOf, eachPlane, type Plane, VIP, VIP6 } from "./plane";
import { arrivals, bend, rule } from "./spy";

/**
 * Segments that belong to no connection, or lie outside of its window. A rule on the sender changes what its TCP sends, and
 * another one counts what arrives at the far end.
 */

/**
 * A gigabyte ahead of where it was: further than any window goes. (What is behind, conntrack takes for data that is sent
 * again.) nft cannot add, but knows one bit when it sees it.
 */
const AHEAD = [
  "tcp sequence & 0x40000000 == 0 tcp sequence set tcp sequence ^ 0x40000000",
  "tcp sequence set tcp sequence ^ 0xc0000000",
];

eachPlane({ planes: ALL, backends: 2, serve: { tcp: [80] }, together: true }, (plane) => {
  const client = () => plane.lab.client.namespace;
  const backends = () => plane.lab.backends.namespace;
  /** Rules at both ends know the planes by it. */
  const port = () => 41_000 + plane.gateway.index;

  it.each([
    [VIP, 4],
    [VIP6, 6],
  ] as const)(
    "a client's segment outside of the window reaches nobody and resets nothing (%s)",
    async (to, family) => {
      await plane.apply(farm(plane));
      const from = plane.from(family);
      const held = await plane.hold({ to, from, fromPort: port() });
      expect(plane.lab.backendAddresses).toContain(addressOf(held.first));
      const own = await arrivals(plane.gateway.namespace, `tcp sport ${port()} tcp flags & rst == rst`);
      const far = await arrivals(backends(), `tcp sport ${port()}`);
      const back = await arrivals(client(), `tcp dport ${port()}`);
      await using bent = await bend(client(), `tcp sport ${port()}`, AHEAD);
      expect(await held.ask(500)).toEqual({ failure: "timeout" });
      expect(await bent.packets()).toBeGreaterThan(0);
      expect([await own.end(), await far.end(), await back.end()]).toEqual([0, 0, 0]);
      // TCP sends it again as it should be, and the connection goes on.
      await bent.end();
      expect(addressOf(await held.ask(3000))).toBe(addressOf(held.first));
    },
  );

  // The guards know a packet by the service that it is addressed to, and this one is addressed to the client; the lock on what is forwarded stops it.
  it.each([
    [VIP, 4],
    [VIP6, 6],
  ] as const)(
    "a backend's segment outside of the window is not sent to the client, who would reset the connection (%s)",
    async (to, family) => {
      await plane.apply(farm(plane));
      const from = plane.from(family);
      const held = await plane.hold({ to, from, fromPort: port() });
      const stray = await arrivals(client(), `tcp dport ${port()}`);
      const reset = await arrivals(backends(), `tcp flags & rst == rst tcp sport ${port()}`);
      await using bent = await bend(backends(), `tcp dport ${port()} tcp flags & psh == psh`, AHEAD);
      expect(await held.ask(500)).toEqual({ failure: "timeout" });
      expect(await bent.packets()).toBeGreaterThan(0);
      await bent.end();
      // The answer that was spoilt comes when it is sent again.
      expect(addressOf(await held.ask(3000))).toBe(addressOf(held.first));
      await stray.end();
      expect(await reset.end()).toBe(0);
    },
  );

  it("a connection does not begin without a SYN", async () => {
    await plane.apply(farm(plane));
    await plane.gateway.sh(`ip addr add ${VIP}/32 dev lo`);
    try {
      for (const flags of ["ack", "fin", "rst", "0", "fin | psh | urg", "syn | ack", "syn | fin"]) {
        const own = await rule(plane.gateway.namespace, "input", `tcp sport ${port()}`);
        const far = await arrivals(backends(), `tcp sport ${port()}`);
        const back = await arrivals(client(), `tcp dport ${port()}`);
        {
          await using bent = await bend(client(), `tcp sport ${port()}`, [`tcp flags set ${flags}`]);
          expect((await plane.connect({ fromPort: port(), timeout: 200 })).failures, flags).toEqual({
            timeout: 1,
          });
          expect(await bent.packets()).toBeGreaterThan(0);
        }
        expect([await own.end(), await far.end(), await back.end()], flags).toEqual([0, 0, 0]);
        await plane.gateway.sh("conntrack -F 2>/dev/null");
      }
      // The same port with a SYN.
      expect((await plane.connect({ fromPort: port() })).lost).toBe(0);
    } finally {
      await plane.gateway.sh(`ip addr del ${VIP}/32 dev lo`);
    }
  });

  it("looseTcp: it does begin so, and a connection under way is taken over", async () => {
    const [only] = plane.backends;
    const loose = { ...farm(plane), backends: [{ address: only! }], listeners: [LISTENER], looseTcp: true };
    await plane.apply(loose);
    const held = await plane.hold({ fromPort: port() });
    await plane.gateway.sh("conntrack -F 2>/dev/null");
    expect(addressOf(await held.ask())).toBe(only);
    // Without it, the same is cut off, and still nobody resets it.
    await plane.apply({ ...loose, looseTcp: false });
    expect(addressOf(await held.ask())).toBe(only);
    await plane.gateway.sh("conntrack -F 2>/dev/null");
    const far = await arrivals(backends(), `tcp sport ${port()}`);
    expect(await held.ask(500)).toEqual({ failure: "timeout" });
    expect(await far.end()).toBe(0);
  });
});

const LISTENER = { address: VIP, protocol: "tcp", port: 80 } as const;

function farm(plane: Plane) {
  return {
    listeners: [LISTENER, { ...LISTENER, address: VIP6 }],
    backends: plane.lab.backendAddresses.map((address) => ({ address })),
  };
}
