import { beforeAll, describe, expect, it } from "vitest";
import type { FarmSpec, Helper } from "../../src/core";
import type { Gateway } from "../support/lab";
import { ALL_BUT_ZEVENET, eachPlane, VIP, VIP6 } from "./plane";

/** Protocols that open a second connection, the address of which the first one tells. */

/** Those that a farm may name, and where they listen. */
const HELPERS = [
  ["ftp", "tcp", 2121, "ftp"],
  ["tftp", "udp", 69, "tftp"],
  ["sip", "udp", 5060, "sip"],
  ["irc", "tcp", 6667, "irc"],
  ["amanda", "udp", 10_080, "amanda"],
  ["pptp", "tcp", 1723, "pptp"],
  ["snmp", "udp", 161, "snmp"],
] as const satisfies [Helper, "tcp" | "udp", number, string][];

const OTHER_VIP = "203.0.113.11";

eachPlane(
  { planes: ALL_BUT_ZEVENET, backends: 3, serve: { tcp: [1723, 2121, 6667] }, together: true },
  (plane) => {
    beforeAll(() => (served ??= plane.lab.backends.serveFiles()));

    const apply = (protocol: "tcp" | "udp", port: number, more: Partial<FarmSpec>, name?: string) =>
      plane.apply(
        {
          listeners: [VIP, VIP6].map((address) => ({ address, protocol, port })),
          backends: plane.lab.backendAddresses.map((address) => ({ address })),
          ...more,
        },
        name,
      );

    describe.each([
      [4, VIP],
      [6, VIP6],
    ] as const)("IPv%i", (family, to) => {
      const from = () => plane.from(family);
      const backends = () => (family === 4 ? plane.lab.backends4 : plane.lab.backends6);

      it.each(["none", "masquerade"])(
        "ftp, sourceNat %s: the data connection goes through the virtual IP",
        async (sourceNat) => {
          await apply("tcp", 21, { helper: "ftp", sourceNat });
          for (let n = 0; n < 6; n++) {
            const passive = await plane.lab.client.transfer({ to, from: from(), mode: "passive" });
            expect(passive).toMatchObject({ peer: to });
            expect(backends()).toContain(passive.address);
            if (family === 4) expect(passive.told?.address).toBe(VIP);
            const active = await plane.lab.client.transfer({ to, from: from(), mode: "active" });
            expect(active).toMatchObject({ peer: to });
            expect(backends()).toContain(active.address);
          }
        },
      );

      it("ftp without the helper: it does not", async () => {
        await apply("tcp", 21, {});
        const passive = await plane.lab.client.transfer({ to, from: from(), mode: "passive" });
        expect(passive.peer).not.toBe(to);
        const active = await plane.lab.client.transfer({ to, from: from(), mode: "active" });
        expect(active.peer).not.toBe(to);
      });

      it("tftp: the answer comes from the virtual IP, with the helper alone", async () => {
        await apply("udp", 69, { helper: "tftp" });
        for (let n = 0; n < 6; n++) {
          const answer = await plane.lab.client.fetchTftp({ to, from: from() });
          expect(answer).toMatchObject({ peer: to });
          expect(backends()).toContain(answer.address);
        }
        await apply("udp", 69, {});
        const { peer } = await plane.lab.client.fetchTftp({ to, from: from() });
        expect(peer).not.toBe(to);
      });
    });

    it.each(HELPERS)("%s is bound to the farm's connections alone", async (helper, protocol, port, name) => {
      const listener = { protocol, port } as const;
      const backends = plane.backends.map((address) => ({ address }));
      await plane.apply({ listeners: [{ ...listener, address: VIP }], backends, helper });
      await plane.apply({ listeners: [{ ...listener, address: OTHER_VIP }], backends }, "plain");
      for (const to of [VIP, OTHER_VIP]) await plane.connect({ to, port, protocol, count: 1, timeout: 100 });
      expect(await helpersOf(plane.gateway, protocol, port)).toEqual({ [VIP]: name, [OTHER_VIP]: undefined });
      // The gateway's own connections too.
      await plane.gateway.sh("conntrack -F 2>/dev/null");
      await plane.gateway.connect({ to: VIP, port, protocol, timeout: 100 });
      expect(await helpersOf(plane.gateway, protocol, port)).toEqual({ [VIP]: name });
    });

    it.each([
      [4, "none"],
      [4, "masquerade"],
      [6, "none"],
    ] as const)(
      "the data connection passes where FORWARD drops by policy (IPv%i, sourceNat %s)",
      async (family, sourceNat) => {
        const iptables = family === 4 ? "iptables" : "ip6tables";
        const to = family === 4 ? VIP : VIP6;
        await plane.gateway.sh(`${iptables} -P FORWARD DROP`);
        try {
          await apply("tcp", 21, { helper: "ftp", sourceNat });
          await apply("udp", 69, { helper: "tftp" }, "files");
          const from = plane.from(family);
          for (const mode of ["passive", "active"] as const)
            expect(await plane.lab.client.transfer({ to, from, mode, timeout: 1000 }), mode).toMatchObject({
              peer: to,
            });
          expect(await plane.lab.client.fetchTftp({ to, from })).toMatchObject({ peer: to });
          await plane.gateway.sh("netfilter-lb verify");
          // It was the helper that opened the way.
          await apply("tcp", 21, { sourceNat });
          expect(await plane.gateway.sh(`${iptables} -S NFLB-FORWARD | grep -c EXPECTED`)).toBe("2\n");
          await plane.remove("files");
          expect(await plane.gateway.sh(`${iptables} -S NFLB-FORWARD | grep -c EXPECTED || :`)).toBe("0\n");
          await plane.gateway.sh("netfilter-lb verify");
        } finally {
          await plane.gateway.sh(`${iptables} -P FORWARD ACCEPT`);
        }
      },
    );

    it("goes with the farm's next change", async () => {
      await apply("tcp", 21, { helper: "ftp" });
      await apply("tcp", 21, {});
      const { peer } = await plane.lab.client.transfer({
        to: VIP,
        from: plane.from(),
        mode: "passive",
      });
      expect(peer).not.toBe(VIP);
    });
  },
);

let served: Promise<void> | undefined;

/** The helper of the connections to each address. */
async function helpersOf(
  gateway: Gateway,
  protocol: string,
  port: number,
): Promise<Record<string, string | undefined>> {
  const table = await gateway.sh(`conntrack -L -p ${protocol} --orig-port-dst ${port} 2>/dev/null`);
  return Object.fromEntries(
    table
      .trim()
      .split("\n")
      .map((line) => [/dst=(\S+)/.exec(line)![1], /helper=(\S+)/.exec(line)?.[1]]),
  );
}
