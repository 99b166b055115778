import type { NftHash } from "../nftables/ruleset";
import { SEED } from "../plan/slots";
import { networkOf, toBytes } from "../spec/prefix";
import { jhash } from "./jhash";
import type { Arrival } from "./packet";

/** The slot that a packet hashes to; undefined where the packet lacks what is hashed. */
export function slotOf(hash: NftHash, packet: Arrival): number | undefined {
  if (packet.anyClient) return undefined;
  const key = keyOf(hash, packet);
  // `reciprocal_scale` of include/linux/kernel.h, as net/netfilter/nft_hash.c has it.
  return key && Math.floor((jhash(key, SEED) * hash.slots) / 2 ** 32);
}

/** A lone field stands as it is; of several each takes whole registers of 4 bytes, with zeros behind it. */
function keyOf({ of, prefix }: NftHash, packet: Arrival): Uint8Array | undefined {
  const { source, destination, sourcePort, port } = packet;
  if (of === "source") return toBytes(networkOf(source, prefix).split("/")[0]!);
  // Who says ICMP of an IPv6 packet means the one that IPv6 has.
  const protocol =
    PROTOCOL_NUMBERS[packet.protocol === "icmp" && packet.family === "ip6" ? "icmpv6" : packet.protocol];
  if (protocol === undefined) return undefined;
  const fields = [toBytes(source), toBytes(destination), Buffer.from([protocol, 0, 0, 0])];
  if (of === "addresses") return Buffer.concat(fields);
  if (sourcePort === undefined || port === undefined) return undefined;
  return Buffer.concat([...fields, portBytes(sourcePort), portBytes(port)]);
}

function portBytes(port: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt16BE(port);
  return bytes;
}

/** IANA's assigned Internet protocol numbers, by the names of nft. */
const PROTOCOL_NUMBERS: Readonly<Record<string, number>> = {
  icmp: 1,
  igmp: 2,
  tcp: 6,
  udp: 17,
  dccp: 33,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  "ipv6-icmp": 58,
  sctp: 132,
  udplite: 136,
};
