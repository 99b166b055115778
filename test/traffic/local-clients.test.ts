import { beforeEach, expect, it } from "vitest";
import type { FarmSpec } from "../../src/core";
import { fault } from "../faults/fault";
import type { Host, Lab } from "../support/lab";
import { type Family, familyOf } from "../support/lab/addresses";
import { ALL, eachPlane, type Plane, VIP, VIP6 } from "./plane";

/**
 * Clients that reach a backend past the gateway, so that its answers would too: neighbours, and backends that dial
 * their own farm. Each is a host of its own here.
 */

const MEMBERS = { 4: ["192.0.2.150", "192.0.2.151"], 6: ["2001:db8:b::150", "2001:db8:b::151"] } as const;
const NEIGHBOUR = { 4: "192.0.2.160", 6: "2001:db8:b::160" } as const;
/** In no backend's /24 or /64, and still behind the same switch. */
const STRANGER = { 4: "198.19.7.1", 6: "2001:db8:e::1" } as const;
const WAYS = [
  [4, "tcp"],
  [4, "udp"],
  [6, "tcp"],
  [6, "udp"],
] as const;
const VIPS: Record<Family, string> = { 4: VIP, 6: VIP6 };

eachPlane({ planes: ALL, backends: 1, serve: { tcp: [80], udp: [53] } }, (plane) => {
  let hosts: Hosts;
  beforeEach(async () => {
    made ??= plugIn(plane.lab);
    hosts = await made;
    for (const vip of [VIP, VIP6]) await plane.lab.sendThrough(plane.label, vip);
  });

  const apply = (more: Partial<FarmSpec>) =>
    plane.apply({
      listeners: [VIP, VIP6].flatMap((address) => [
        { address, protocol: "tcp" as const, port: 80 },
        { address, protocol: "udp" as const, port: 53 },
      ]),
      backends: [...MEMBERS[4], ...MEMBERS[6]].map((address) => ({ address })),
      algorithm: "roundRobin",
      ...more,
    });

  /** Who answered and whom it saw, two connections one after the other; or what went wrong. */
  const dial = async (host: Pick<Host, "connect">, from: string, protocol: "tcp" | "udp") => {
    const { answers, failures } = await host.connect({
      to: VIPS[familyOf(from)],
      port: protocol === "tcp" ? 80 : 53,
      from,
      protocol,
      count: 2,
      concurrency: 1,
      timeout: 300,
    });
    return {
      by: [...new Set(answers.map(({ address }) => address))].sort(),
      sees: [...new Set(answers.map(({ source }) => source))],
      failures,
    };
  };
  const gatewayAddress = async (family: Family) => {
    const line = await plane.gateway.sh(`ip -${family} -o addr show dev ${plane.gateway.back} scope global`);
    return / inet6? ([\da-f.:]+)/.exec(line)![1]!;
  };

  fault(42, plane.label, async () => {
    await apply({ sourceNat: "none" });
    const bare = await dial(hosts.members[0]!, MEMBERS[4][0], "tcp");
    // A backend that is chosen for its own connection is its own peer, and drops that.
    expect(bare.by).toEqual([]);
    await apply({ sourceNat: "auto" });
    let answers = 0;
    for (const [family, protocol] of WAYS) {
      const gateway = await gatewayAddress(family);
      const answered = { by: [...MEMBERS[family]], failures: {} };
      const near = { ...answered, sees: [gateway] };
      const far = plane.from(family);
      for (const [i, member] of hosts.members.entries())
        expect(await dial(member, MEMBERS[family][i]!, protocol), "a member").toEqual(near);
      expect(await dial(hosts.neighbour, NEIGHBOUR[family], protocol), "a neighbour").toEqual(near);
      expect(await dial(plane.lab.client, far, protocol), "a far client").toEqual({
        ...answered,
        sees: [far],
      });
      expect(await ownDial(plane, family, protocol), "the gateway itself").toEqual(answered);
      answers += hosts.members.length + 3;
    }
    expect(await plane.gateway.sh("netfilter-lb verify")).toContain("in step");
    return {
      done:
        "backends that dial their own farm, a neighbour in their subnet, a far client and the gateway itself, by TCP and UDP, " +
        "IPv4 and IPv6, with sourceNat auto",
      held:
        `${answers} of ${answers} were answered, by both backends in turn; near ones are seen with the gateway's address, ` +
        "far ones with their own",
      saw: `nothing; with sourceNat none, a backend that dials its own farm: ${Object.keys(bare.failures).join(", ")}`,
    };
  });

  it("sourceNat none: who is near gets no answer", async () => {
    await apply({ sourceNat: "none" });
    const [member] = hosts.members;
    const near = WAYS.flatMap(([family, protocol]) => [
      dial(member!, MEMBERS[family][0], protocol),
      dial(hosts.neighbour, NEIGHBOUR[family], protocol),
    ]);
    expect((await Promise.all(near)).flatMap(({ by }) => by)).toEqual([]);
    for (const [family, protocol] of WAYS) {
      const far = plane.from(family);
      const answered = { by: [...MEMBERS[family]], failures: {} };
      expect(await dial(plane.lab.client, far, protocol)).toEqual({ ...answered, sees: [far] });
    }
  });

  it("localNetworks says who they are", async () => {
    const everybody = { by: [...MEMBERS[4]], failures: {} };
    await apply({ sourceNat: "auto" });
    expect((await dial(hosts.stranger, STRANGER[4], "tcp")).by).toEqual([]);
    await apply({ sourceNat: "auto", localNetworks: ["192.0.2.0/24", "198.19.7.0/28", "2001:db8:e::/64"] });
    const gateway = await gatewayAddress(4);
    expect(await dial(hosts.stranger, STRANGER[4], "tcp")).toEqual({ ...everybody, sees: [gateway] });
    expect(await dial(hosts.stranger, STRANGER[6], "udp")).toMatchObject({ by: MEMBERS[6], failures: {} });
    expect(await dial(hosts.neighbour, NEIGHBOUR[4], "tcp")).toEqual({ ...everybody, sees: [gateway] });
  });

  it("a backend with one member is its own client", async () => {
    await apply({ sourceNat: "auto", backends: [{ address: MEMBERS[4][0] }, { address: MEMBERS[6][0] }] });
    for (const family of [4, 6] as const)
      expect((await dial(hosts.members[0]!, MEMBERS[family][0], "tcp")).by).toEqual([MEMBERS[family][0]]);
  });

  it("the gateway itself, also where the virtual IP is its own", async () => {
    await plane.gateway.sh(`ip addr add ${VIP}/32 dev lo; ip addr add ${VIP6}/128 dev lo`);
    try {
      for (const sourceNat of ["none", "auto", "masquerade"]) {
        await apply({ sourceNat });
        for (const family of [4, 6] as const)
          for (const protocol of ["tcp", "udp"] as const)
            expect(await ownDial(plane, family, protocol), sourceNat).toMatchObject({
              by: MEMBERS[family],
              failures: {},
            });
      }
    } finally {
      await plane.gateway.sh(`ip addr del ${VIP}/32 dev lo; ip addr del ${VIP6}/128 dev lo`);
    }
  });
});

interface Hosts {
  readonly members: readonly Host[];
  readonly neighbour: Host;
  readonly stranger: Host;
}

/** The same for every plane; they end with the lab. */
let made: Promise<Hosts> | undefined;

async function plugIn(lab: Lab): Promise<Hosts> {
  const members = [];
  for (const i of [0, 1]) {
    const member = await lab.neighbour([MEMBERS[4][i]!, MEMBERS[6][i]!]);
    await member.serve({ tcp: [80], udp: [53] });
    members.push(member);
  }
  const neighbour = await lab.neighbour([NEIGHBOUR[4], NEIGHBOUR[6]]);
  return { members, neighbour, stranger: await lab.neighbour([STRANGER[4], STRANGER[6]]) };
}

/** The gateway dials, with whatever address its kernel takes. */
async function ownDial(plane: Plane, family: Family, protocol: "tcp" | "udp") {
  const { answers, failures } = await plane.gateway.connect({
    to: VIPS[family],
    port: protocol === "tcp" ? 80 : 53,
    protocol,
    count: 4,
    concurrency: 1,
    timeout: 300,
  });
  return { by: [...new Set(answers.map(({ address }) => address))].sort(), failures };
}
