/**
 * What the packets of a measurement travel: client — gateway — sink, three network namespaces and two veth pairs.
 *
 * Everything is IPv4, all neighbours are permanent, and the sink drops what arrives before any routing there, so that
 * nothing but the gateway's own work differs between two rule sets. What a rule set leaves untranslated reaches the sink
 * too: it costs what it costs, and is counted by its destination. The namespaces have no name and end with this process.
 */

import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { Namespace } from "../test/support/lab/namespace";
import { load } from "./load";

const MAC = {
  client: "02:00:00:00:00:01",
  front: "02:00:00:00:00:02",
  back: "02:00:00:00:00:03",
  sink: "02:00:00:00:00:04",
};

/** RFC 2544's block, 131,072 addresses: one for each of 120,000 clients. */
export const CLIENTS = "198.18.0.0/15";
/** Virtual IPs; the generator takes the first 250 of a /24 in turn, then those with the next port. */
export const FIRST_VIP = "203.0.113.1";
export const FIRST_PORT = 80;
const VIPS = 250;

/** The k-th service, from 0, as the generator counts them. */
export function serviceAt(k: number): { address: string; port: number } {
  return { address: `203.0.113.${1 + (k % VIPS)}`, port: FIRST_PORT + Math.floor(k / VIPS) };
}

/** The k-th backend, from 0. */
export function backendAt(k: number): string {
  const n = k + 1;
  return `10.0.${n >> 8}.${n & 0xff}`;
}

export function backendsUpTo(n: number): string[] {
  return Array.from({ length: n }, (_, k) => backendAt(k));
}

/** The kernel prefers the first CPU for everything else. */
const LAST_CPU = cpus().length - 1;

export type Protocol = "tcp" | "udp";

export interface PacketsOptions {
  readonly protocol: Protocol;
  /** The first service that is dialled, from 0. @default 0 */
  readonly service?: number;
  /** How many from there on take turns. @default 1 */
  readonly services?: number;
  readonly packets: number;
  /** Stop after so many seconds. */
  readonly seconds: number;
  readonly warm?: number;
  /** Over so many established flows; left out: every packet is a new flow. */
  readonly established?: number;
  /** Of those flows send what comes back, from the backends to the clients. */
  readonly replies?: boolean;
}

/** Nanoseconds that a packet cost. */
export interface PacketCost {
  /** This CPU's own time, the median over chunks of 1,024 packets. */
  readonly cpuMedian: number;
  readonly cpu: number;
  readonly wall: number;
  readonly wallMedian: number;
  /** Of a chunk that nothing came into. */
  readonly cpuLeast: number;
  readonly wallLeast: number;
  readonly packets: number;
}

export interface ConnectionRate {
  readonly connections: number;
  readonly failed: number;
  /** A second of CPU time, and of the clock. */
  readonly cpu: number;
  readonly wall: number;
}

const quiet = `
ip link set lo up
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter; echo 0 >/proc/sys/net/ipv4/conf/default/rp_filter
`;

export class Road {
  private constructor(
    readonly client: Namespace,
    readonly gateway: Namespace,
    readonly sink: Namespace,
  ) {}

  static async open(): Promise<Road> {
    const start = () => Namespace.start({ setup: quiet });
    const [client, gateway, sink] = [await start(), await start(), await start()];
    const road = new Road(client, gateway, sink);
    try {
      await road.wire();
    } catch (error) {
      await road.close();
      throw error;
    }
    return road;
  }

  private async wire(): Promise<void> {
    const { client, gateway, sink } = this;
    await gateway.ip([
      `link add front address ${MAC.front} type veth peer name eth0 address ${MAC.client} netns ${client.pid}`,
      `link add back address ${MAC.back} type veth peer name eth0 address ${MAC.sink} netns ${sink.pid}`,
      "link set front up",
      "link set back up",
    ]);
    await client.ip([
      "addr add 198.51.100.2/24 dev eth0",
      "link set eth0 up",
      `neigh replace 198.51.100.1 lladdr ${MAC.front} dev eth0 nud permanent`,
      "route add default via 198.51.100.1",
      `route add local ${CLIENTS} dev lo`,
    ]);
    await sink.ip([
      "addr add 192.0.2.2/24 dev eth0",
      "link set eth0 up",
      `neigh replace 192.0.2.1 lladdr ${MAC.back} dev eth0 nud permanent`,
      "route add default via 192.0.2.1",
      "route add local 10.0.0.0/8 dev lo",
    ]);
    await gateway.ip([
      "addr add 198.51.100.1/24 dev front",
      "addr add 192.0.2.1/24 dev back",
      `neigh replace 198.51.100.2 lladdr ${MAC.client} dev front nud permanent`,
      `neigh replace 192.0.2.2 lladdr ${MAC.sink} dev back nud permanent`,
      `route add ${CLIENTS} via 198.51.100.2`,
      "route add default via 192.0.2.2",
    ]);
    await gateway.sh("echo 1 >/proc/sys/net/ipv4/ip_forward");
    await this.serve(false);
  }

  /**
   * Whether client and sink have ends of their own, as real connections need, or drop whatever arrives: raw packets come
   * from nowhere, and the kernel would refuse what answers them. @default they drop
   */
  async serve(yes: boolean): Promise<void> {
    const chain = `type filter hook ingress device "eth0" priority 0; policy drop;`;
    const drop = yes ? "" : `table netdev end {\n chain arrival { ${chain} }\n}`;
    for (const end of [this.client, this.sink])
      await end.sh("nft -f -", { input: `flush ruleset\n${drop}\n` });
  }

  /** Forgets all connections, as at the begin of every sample. */
  async forget(): Promise<void> {
    await this.gateway.sh("conntrack -F 2>/dev/null");
  }

  /** Sends packets as fast as one CPU can, and says what each cost. @throws where one did not arrive */
  async packets(options: PacketsOptions): Promise<PacketCost> {
    const { protocol, service = 0, services = 1, established, replies = false } = options;
    const end = replies ? this.client : this.sink;
    const before = arrivedAt(end);
    const cost = await load<PacketCost>(this.client.enterNetwork, [
      "packets",
      ...this.traffic(protocol, service, services),
      `-packets=${options.packets}`,
      `-limit=${options.seconds}s`,
      `-warm=${options.warm ?? 4096}`,
      ...(established ? [`-established=${established}`, `-sink=${this.sink.path("net")}`] : []),
      ...(replies ? ["-replies"] : []),
    ]);
    const handshake = established === undefined ? 0 : replies ? established : 2 * established;
    const arrived = arrivedAt(end) - before - handshake;
    if (arrived < cost.packets) throw new Error(`of ${cost.packets} packets only ${arrived} arrived`);
    return cost;
  }

  /** TCP connections a second, of all CPUs together; the ends must serve. */
  async connections(options: { connections: number; seconds: number }): Promise<ConnectionRate> {
    return await load<ConnectionRate>(this.client.enterNetwork, [
      "connect",
      `-cpus=${cpus()
        .map((_, k) => k)
        .join(",")}`,
      `-sources=${CLIENTS}`,
      `-target=${FIRST_VIP}:${FIRST_PORT}`,
      `-connections=${options.connections}`,
      `-limit=${options.seconds}s`,
      `-sink=${this.sink.path("net")}`,
    ]);
  }

  /** Opens flows and counts where they arrive. */
  async count(options: {
    protocol: Protocol;
    flows: number;
    first?: number;
  }): Promise<Record<string, number>> {
    const { counts } = await load<{ counts: Record<string, number> }>(this.client.enterNetwork, [
      "count",
      ...this.traffic(options.protocol, 0, 1),
      `-flows=${options.flows}`,
      `-first=${options.first ?? 0}`,
      `-sink=${this.sink.path("net")}`,
    ]);
    return counts;
  }

  async close(): Promise<void> {
    await Promise.all([this.client, this.gateway, this.sink].map((each) => each.end()));
  }

  private traffic(protocol: Protocol, service: number, services: number): string[] {
    const { address, port } = serviceAt(service);
    return [
      `-cpu=${LAST_CPU}`,
      `-protocol=${protocol}`,
      `-from=${MAC.client}`,
      `-to=${MAC.front}`,
      `-sources=${CLIENTS}`,
      `-target=${address}:${port}`,
      `-services=${services}`,
    ];
  }
}

/** Packets that an end has got, from the first, whatever became of them. */
function arrivedAt(end: Namespace): number {
  const lines = readFileSync(`/proc/${end.pid}/net/dev`, "utf8").split("\n");
  const fields = lines.find((line) => line.trim().startsWith("eth0:"))?.split(":")[1];
  return Number(fields?.trim().split(/\s+/)[1]);
}
