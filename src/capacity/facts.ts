import type { Protocol } from "../spec/types";

/** What the kernel takes for a connection, a remembered client and a translated source, each with where that is to be read. */

/**
 * Bytes of a translated connection in connection tracking: `struct nf_conn` with its slab's alignment (256 on 64-bit machines,
 * `nf_conntrack` in /proc/slabinfo), its extensions (128, NF_CT_EXT_PREALLOC in net/netfilter/nf_conntrack_extend.c), and the
 * bucket that the kernel by itself has for each entry.
 */
export const CONNTRACK_ENTRY_BYTES = 256 + 128 + 8;

/**
 * Entries that the kernel allows by itself, the least memory that a machine must have more of first
 * (`nf_conntrack_init_start` in net/netfilter/nf_conntrack_core.c). Below: a bucket of 8 bytes a 16 KiB of memory.
 */
export const CONNTRACK_MAX_OF_MEMORY: readonly (readonly [number, number])[] = [
  [4 * 2 ** 30, 262_144],
  [2 ** 30, 65_536],
];

/**
 * Seconds that a connection's entry stays behind its end: `nf_conntrack_tcp_timeout_time_wait`, `nf_conntrack_udp_timeout_stream`
 * and `nf_conntrack_sctp_timeout_closed` as they are by default (Documentation/networking/nf_conntrack-sysctl.rst; the last in
 * net/netfilter/nf_conntrack_proto_sctp.c). Of `all`, what TCP takes.
 */
export const LINGERING_SECONDS: Record<Protocol, number> = { tcp: 120, udp: 120, sctp: 10, all: 120 };

/** The same for UDP flows of less than 2 seconds, which are no stream yet (net/netfilter/nf_conntrack_proto_udp.c). */
export const SHORT_UDP = { below: 2, lingering: 30 };

/**
 * Ports that a translated source may get from 1024 on: whoever dials from 1024 or above gets one of 1024 to 65535, whatever
 * `net.ipv4.ip_local_port_range` says (`nf_nat_l4proto_unique_tuple` in net/netfilter/nf_nat_core.c).
 */
export const SOURCE_PORTS = 65_535 - 1024 + 1;

/** How many ports the kernel tries before it gives a new connection up: 128 + 64 + 32 + 16 (same function). */
export const PORT_ATTEMPTS = 240;

/** Bytes of an entry in what a farm remembers its clients by, measured on Linux 6.18 (test/traffic/capacity.test.ts). */
export const CLIENT_BYTES = {
  /** An element of a map with time-outs: kmalloc-cg-96 and its bucket. */
  nftables: { ip: 112, ip6: 112 },
  /** An entry of ipset's hash types, as `ipset -t list` has them in "Size in memory". */
  iptables: { ip: 48, ip6: 64 },
} as const;

/** The same of the sources whose rate is limited: in nftables an element with its own limit, in iptables `struct dsthash_ent`. */
export const SOURCE_RATE_BYTES = {
  nftables: { ip: 176, ip6: 240 },
  iptables: { ip: 128, ip6: 128 },
} as const;

/**
 * Sources whose rate a gateway limits at a time: the size that the compiler gives the set in nftables; in iptables 8 times the
 * buckets that hashlimit makes on a machine with more than 1 GiB (`htable_create` in net/netfilter/xt_hashlimit.c).
 */
export const LIMITED_SOURCES = 65_536;
