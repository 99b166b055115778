import { BlockList, isIP, SocketAddress } from "node:net";

/** nftables' name of an address family; iptables has `iptables` and `ip6tables` for them. */
export type Family = "ip" | "ip6";

/** What messages call an address family. */
export const FAMILY_NAME: Record<Family, string> = { ip: "IPv4", ip6: "IPv6" };

/** An address in its one canonical text (RFC 5952 for IPv6). */
export interface Address {
  family: Family;
  text: string;
}

/** Addresses that no packet to or from another machine carries, with the reason that an error gives. */
const UNUSABLE: readonly (readonly [reason: string, list: BlockList])[] = [
  ["is the unspecified address", subnets(["0.0.0.0", 8], ["::", 128])],
  ["is a loopback address: only the machine itself can reach it", subnets(["127.0.0.0", 8], ["::1", 128])],
  ["is a multicast address", subnets(["224.0.0.0", 4], ["ff00::", 8])],
  ["is a reserved or broadcast address", subnets(["240.0.0.0", 4])],
  ["is a link-local address, which is not routed", subnets(["169.254.0.0", 16], ["fe80::", 10])],
];

/** An address in canonical form, or undefined where `text` is none. Whether a farm can use it, `addressProblem` tells. */
export function parseAddress(text: string): Address | undefined {
  return isIP(text) === 0 ? undefined : canonical(text);
}

/** Why `value` is not an address that a listener or backend can have; undefined where it is one. */
export function addressProblem(value: unknown): string | undefined {
  if (typeof value !== "string") return "is not an IP address; write it as text, such as 203.0.113.10";
  if (value.includes("/")) return "has a prefix length; give the address alone";
  if (value.includes("%")) return "has a zone; give an address that is routed";
  if (hasPort(value)) return "has a port; give the address alone, and the port as a field of its own";
  if (isIP(value) === 0)
    return "is not an IP address; names are not resolved, because a rule holds addresses";
  if (/^::ffff:/i.test(canonical(value).text)) return "is an IPv4-mapped address; write it as IPv4";
  const { family, text } = canonical(value);
  return UNUSABLE.find(([, list]) => list.check(text, family === "ip" ? "ipv4" : "ipv6"))?.[0];
}

/** `10.0.0.3:80`, `[2001:db8::3]:80`. */
function hasPort(text: string): boolean {
  const address = /^(?:([\d.]+)|\[(.+)\]):\d+$/.exec(text);
  return address !== null && isIP(address[1] ?? address[2]!) !== 0;
}

function canonical(text: string): Address {
  if (isIP(text) === 4) return { family: "ip", text };
  return { family: "ip6", text: new SocketAddress({ address: text, family: "ipv6" }).address };
}

function subnets(...nets: [net: string, prefix: number][]): BlockList {
  const list = new BlockList();
  for (const [net, prefix] of nets) list.addSubnet(net, prefix, isIP(net) === 4 ? "ipv4" : "ipv6");
  return list;
}
