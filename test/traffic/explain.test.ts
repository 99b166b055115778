import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  explain,
  type FarmSpec,
  type Outcome,
  type Packet as Question,
  type TargetSpec,
} from "../../src/core";
import { parseAddress } from "../../src/spec/address";
import { caseOnAll, PLACE, TARGETS } from "../spec/farms";
import { applyFarm, installTool, removeFarm } from "../support/farms";
import { Lab } from "../support/lab";
import { familyOf } from "../support/lab/addresses";
import type { Namespace } from "../support/lab/namespace";

/**
 * What `explain` says of a packet is what the kernel does with it: random farms with every feature, real packets, and the
 * gateway's table of connections, which has what became of each.
 *
 * `FARMS=200` makes it a long run, `SEED=2` one of others.
 */
const FARMS = Number(process.env.FARMS ?? 6);
const SEED = Number(process.env.SEED ?? 1);

/** Hosts of the clients' networks, beside and inside of those that farms name. */
const HOSTS = [2, 3, 4, 7, 8, 64, 65, 127, 128, 200];

describe.each(["nft", "legacy"] as const)("where iptables is iptables-%s", (iptables) => {
  let lab: Lab;

  beforeAll(async () => {
    const backends = Array.from({ length: 200 }, (_, i) => [
      PLACE.ip.backend(i + 1),
      PLACE.ip6.backend(i + 1),
    ]).flat();
    lab = await Lab.create({ gateways: [{ name: "edge-1", iptables, forwarding: true }], backends });
    await installTool(lab.gateway());
    const clients = [...HOSTS.map(PLACE.ip.client), PLACE.ip.stranger];
    const clients6 = [...HOSTS.map(PLACE.ip6.client), PLACE.ip6.stranger];
    await lab.client.namespace.ip(clients.map((address) => `route replace local ${address} dev lo`));
    await lab.client.namespace.ip(
      clients6.map((address) => `route replace local ${address} dev lo`),
      "-6",
    );
    // A kernel owes one client few ICMP errors a second; here each of them is an answer.
    await lab
      .gateway()
      .sh("echo 0 >/proc/sys/net/ipv4/icmp_ratelimit; echo 0 >/proc/sys/net/ipv6/icmp/ratelimit");
    // Backends say nothing: so a connection stays as its first packet left it.
    await lab.backends.sh(
      "nft 'table inet silent { chain each { type filter hook prerouting priority -300; iifname gw0 meta l4proto { tcp, udp, icmp } drop; iifname gw0 icmpv6 type echo-request drop; }; }'",
    );
    // ping does not tell that it was refused.
    await Promise.all(
      [lab.client, lab.gateway()].map(({ namespace }) =>
        namespace.sh(`nft 'table inet refusals {
          set v4 { typeof ip daddr; flags dynamic; }
          set v6 { typeof ip6 daddr; flags dynamic; }
          chain each {
            type filter hook input priority 0
            icmp type destination-unreachable add @v4 { ip daddr }
            icmpv6 type destination-unreachable add @v6 { ip6 daddr }
          }
        }'`),
      ),
    );
  });
  afterAll(() => lab?.close());

  const targets = TARGETS.filter(([, { dataPlane }]) => iptables === "nft" || dataPlane === "iptables");

  it.each(targets)(
    "%s",
    async (_, wanted) => {
      const seen: Record<string, number> = {};
      const twists = fc.record({ unlimited: fc.boolean(), empty: fc.nat(5), elsewhere: fc.nat(5) });
      const property = fc.asyncProperty(caseOnAll([wanted]), twists, async (any, twist) => {
        const { name } = any;
        const spec = twisted(any.spec, twist);
        const target = { ...any.targets[0]! };
        if (target.interface && twist.elsewhere > 0) target.interface = lab.gateway().front;
        const questions = questionsOf(spec, target);
        await applyFarm(lab.gateway(), name, spec, target);
        try {
          const happened = await send(questions);
          for (const [i, question] of questions.entries()) {
            const { possible } = explain(name, spec, question, target);
            const foreseen = await Promise.all(possible.map(({ outcome }) => say(outcome, question)));
            expect(foreseen, JSON.stringify(question)).toContain(happened[i]);
            const kind = `${question.protocol} ${happened[i]!.split(" ")[0]!}`;
            seen[kind] = (seen[kind] ?? 0) + 1;
          }
        } finally {
          await removeFarm(lab.gateway(), name);
          await lab.gateway().sh("conntrack -F 2>/dev/null");
        }
      });
      await fc.assert(property, {
        numRuns: FARMS,
        seed: SEED,
        endOnFailure: process.env.SHRINK === undefined,
      });
      if (process.env.FARMS) console.log(`${iptables}: ${FARMS} farms:`, JSON.stringify(seen));
      expect(Object.keys(seen).filter((kind) => kind.endsWith(" to"))).not.toEqual([]);
    },
    30_000 + FARMS * 3_000,
  );

  /** Farms without limits can be asked many times; those without a backend are rare among random ones. */
  function twisted(spec: FarmSpec, { unlimited, empty }: { unlimited: boolean; empty: number }): FarmSpec {
    const { limits, backends, ...others } = spec;
    return {
      ...others,
      ...(!unlimited && limits && { limits }),
      backends: backends.map(({ maxConnections, ...backend }) => ({
        ...backend,
        ...(!unlimited && maxConnections !== undefined && { maxConnections }),
        ...(empty === 0 && { state: "down" }),
      })),
    };
  }

  /** From as many clients as possible; one packet alone, where what came before would count. */
  function questionsOf(spec: FarmSpec, { interface: enters }: TargetSpec): Question[] {
    const { limits, affinity, backends } = spec;
    const alone =
      limits !== undefined ||
      affinity?.by === "destinationIp" ||
      backends.some(({ maxConnections }) => maxConnections !== undefined);
    const questions = spec.listeners.flatMap(({ address, protocol, port, ports }, l) => {
      const family = address.includes(":") ? "ip6" : "ip";
      const dialled = port !== undefined ? [port] : (ports ?? "7,65535").split(/[,-]/).map(Number);
      const ping = family === "ip" ? "icmp" : "icmpv6";
      const protocols = protocol === "all" ? (["tcp", ping, "udp"] as const) : [protocol];
      return protocols.flatMap((each, p) =>
        each === "sctp"
          ? []
          : (each === ping ? [undefined] : dialled).map((destinationPort, i): Question => {
              const own = (l + i) % 5 === 4 && enters === undefined;
              const host = HOSTS[(3 * l + 5 * p + i) % HOSTS.length]!;
              const source = (l + i) % 7 === 6 ? PLACE[family].stranger : PLACE[family].client(host);
              return {
                destination: address,
                protocol: each,
                ...(destinationPort !== undefined && { destinationPort, sourcePort: 40_000 + 16 * l + i }),
                ...(own
                  ? {
                      from: "gateway",
                      source: parseAddress(lab.gateway().address(family === "ip" ? 4 : 6))!.text,
                    }
                  : { interface: lab.gateway().front, source }),
              };
            }),
      );
    });
    const clients = new Set<string>();
    const first = questions.filter(({ source }) => !clients.has(source) && clients.add(source));
    return alone ? first.slice(0, 1) : first;
  }

  /** Sends each, and says what became of it. */
  async function send(questions: readonly Question[]): Promise<string[]> {
    const gateway = lab.gateway();
    const refused = await Promise.all(
      questions.map(async (question) => {
        const host = question.from === "gateway" ? gateway : lab.client;
        if (question.destinationPort === undefined) return await pingRefused(host.namespace, question);
        const { failures } = await host.connect({
          to: question.destination,
          port: question.destinationPort,
          protocol: question.protocol as "tcp" | "udp",
          from: question.source,
          fromPort: question.sourcePort!,
          timeout: 250,
        });
        return failures.refused === 1;
      }),
    );
    const table = await gateway.sh("conntrack -L -f ipv4 2>/dev/null; conntrack -L -f ipv6 2>/dev/null");
    return questions.map((question, i) => {
      const { source, sourcePort, destination, destinationPort, protocol } = question;
      const ports = destinationPort === undefined ? "type=" : `sport=${sourcePort} dport=${destinationPort} `;
      const line = table
        .split("\n")
        .find(
          (each) =>
            each.startsWith(`${protocol} `) && each.includes(` src=${source} dst=${destination} ${ports}`),
        );
      if (refused[i]) return line ? `refused and tracked: ${line}` : "rejected";
      if (!line) return "dropped";
      const [, address, seenAs, port] = / src=\S+ .* src=(\S+) dst=(\S+) (?:sport=(\d+)|type)/.exec(line)!;
      const mark = Number(/ mark=(\d+)/.exec(line)?.[1] ?? 0);
      return address === destination
        ? `untouched mark ${mark}`
        : `to ${address} ${port} source ${seenAs} mark ${mark}`;
    });
  }

  /** Sends an echo request. Each client sends but one packet, so what refuses it is told by the client's address. */
  async function pingRefused(host: Namespace, { source, destination }: Question): Promise<boolean> {
    const set = `inet refusals ${source.includes(":") ? "v6" : "v4"}`;
    await host.run(["nft", "delete", "element", ...set.split(" "), `{ ${source} }`]);
    await host.run(["busybox", "ping", "-q", "-c", "1", "-W", "1", "-I", source, destination]);
    return (await host.run(["nft", "get", "element", ...set.split(" "), `{ ${source} }`])).code === 0;
  }

  async function say(outcome: Outcome, { destination }: Question): Promise<string> {
    switch (outcome.kind) {
      case "translated": {
        const { to, source, mark } = outcome;
        const seenAs = source.kind === "masquerade" ? await backAddress(destination) : source.address;
        return `to ${to.address} ${to.port} source ${seenAs} mark ${mark}`;
      }
      case "untouched":
        return `untouched mark ${outcome.mark}`;
      default:
        return outcome.kind;
    }
  }

  async function backAddress(destination: string): Promise<string> {
    const line = await lab.gateway().sh(`ip -${familyOf(destination)} -o addr show dev eth1 scope global`);
    return / inet6? ([\da-f.:]+)/.exec(line)![1]!;
  }
});
