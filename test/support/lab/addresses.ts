/**
 * The lab's address plan: documentation ranges (RFC 5737, RFC 3849), and the benchmark range (RFC 2544) where hundreds
 * of addresses are needed.
 *
 * | what | IPv4 | IPv6 |
 * |---|---|---|
 * | virtual IPs: whatever a test picks, all routed to the gateway | 203.0.113.0/24 | 2001:db8:a::/64 |
 * | front link of gateway g | 198.51.100.(64g)/26, gateway .1, client .2 | 2001:db8:c:g::/64, gateway ::1, client ::2 |
 * | more client addresses behind gateway g | 198.18.(64g).0/18 | 2001:db8:c:g:1::/80 |
 * | back link of gateway g | 192.0.2.(224 + 8g)/29, gateway first, backends second | 2001:db8:d:g::/64, likewise |
 * | backends, unless a test has a plan of its own | 192.0.2.1 … 199, then 198.19.0.0/16 | 2001:db8:b::1 … |
 *
 * The client belongs to gateway g by the address it uses: with an address of block g it sends through gateway g.
 */

/** How many gateways the plan has room for. */
export const MAX_GATEWAYS = 4;

export type Family = 4 | 6;

/** Every address of one link between a gateway and its neighbour. */
export interface Link {
  readonly gateway: string;
  readonly neighbour: string;
  readonly prefix: number;
}

export function familyOf(address: string): Family {
  return address.includes(":") ? 6 : 4;
}

export function frontLink(gateway: number, family: Family): Link {
  return family === 4
    ? {
        gateway: `198.51.100.${64 * gateway + 1}`,
        neighbour: `198.51.100.${64 * gateway + 2}`,
        prefix: 26,
      }
    : {
        gateway: `2001:db8:c:${gateway}::1`,
        neighbour: `2001:db8:c:${gateway}::2`,
        prefix: 64,
      };
}

export function backLink(gateway: number, family: Family): Link {
  return family === 4
    ? {
        gateway: `192.0.2.${224 + 8 * gateway + 1}`,
        neighbour: `192.0.2.${224 + 8 * gateway + 2}`,
        prefix: 29,
      }
    : {
        gateway: `2001:db8:d:${gateway}::1`,
        neighbour: `2001:db8:d:${gateway}::2`,
        prefix: 64,
      };
}

/** Whatever the client sends from these goes through that gateway. */
export function clientBlocks(gateway: number, family: Family): string[] {
  return family === 4
    ? [`198.51.100.${64 * gateway}/26`, crowdBlock(gateway, 4)]
    : [`2001:db8:c:${gateway}::/64`];
}

/** Client addresses that are on no interface and still work, for tests that need thousands of clients. */
export function crowdBlock(gateway: number, family: Family): string {
  return family === 4 ? `198.18.${64 * gateway}.0/18` : `2001:db8:c:${gateway}:1::/80`;
}

/** The k-th (from 0) address of that block; IPv4 has 16,382 of them. */
export function crowdAddress(gateway: number, k: number, family: Family): string {
  const n = k + 1;
  return family === 4
    ? `198.18.${64 * gateway + (n >> 8)}.${n & 0xff}`
    : `2001:db8:c:${gateway}:1::${n.toString(16)}`;
}

/** The k-th backend (from 0). */
export function backendAddress(k: number, family: Family): string {
  if (family === 6) return `2001:db8:b::${(k + 1).toString(16)}`;
  if (k < 199) return `192.0.2.${k + 1}`;
  const n = k - 199 + 1;
  return `198.19.${n >> 8}.${n & 0xff}`;
}
