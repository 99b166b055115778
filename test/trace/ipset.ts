import { isWithin } from "./network";
import { clientOf, type Memory, type Packet } from "./packet";

/** A set of ipset(8): networks that are written down, or clients that it learns. */
export interface IpSet {
  family: string;
  networks: string[];
  /** Of a set that learns: the mark of the backend whose clients it has, from its name. */
  mark: number | undefined;
  /** What of a packet such a set would learn, as affinity says it. */
  clientOf: (direction: string, packet: Packet) => string;
}

/** A line of a rule set, `create` or `add`. */
export function parseSet(line: string, family: string, sets: Map<string, IpSet>): void {
  const [verb, name, ...words] = line.split(" ") as [string, string, ...string[]];
  const fail = (): never => {
    throw new Error(`not understood: ${line}`);
  };
  if (verb === "add") {
    const set = sets.get(name) ?? fail();
    if (set.mark !== undefined || set.family !== family || words.length !== 1 || words[0]!.endsWith("/0"))
      fail();
    set.networks.push(words[0]!);
    return;
  }
  const [type, keyword, inet, maxelem, size, ...rest] = words;
  const shape = [keyword, inet, maxelem].join(" ");
  if (sets.has(name) || name.length > 31 || shape !== `family ${family === "ip" ? "inet" : "inet6"} maxelem`)
    fail();
  if (!(Number(size) >= 1)) fail();
  const [, mark] = /^NFLB-[^.]+\.([0-9a-f]{1,8})(\.port|\.dest)?$/.exec(name) ?? [];
  const learns = type !== "hash:net";
  if (learns ? mark === undefined || rest[0] !== "timeout" || !(Number(rest[1]) >= 1) : rest.length > 0)
    fail();
  sets.set(name, {
    family,
    networks: [],
    mark: learns ? Number.parseInt(mark!, 16) : undefined,
    clientOf: (direction, packet) => {
      if (type === "hash:ip,port" && direction === "src,src") return clientOf(packet, "sourceIpPort");
      if (type === "hash:ip" && direction === "src") return clientOf(packet, "sourceIp");
      if (type === "hash:ip" && direction === "dst") return clientOf(packet, "destinationIp");
      return fail();
    },
  });
}

export function isMember(set: IpSet, direction: string, packet: Packet, { affinity }: Memory): boolean {
  if (set.mark !== undefined) return affinity?.get(set.clientOf(direction, packet)) === set.mark;
  if (direction !== "src") throw new Error("a list of clients is asked for something else");
  return set.networks.some((network) => isWithin(packet.source, network));
}
