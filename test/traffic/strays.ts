/** Packets that no farm asks for: from a client to a backend, past the farm. */

import { expect } from "vitest";
import type { Family } from "../support/lab/addresses";
import type { Plane } from "./plane";
import { arrivals, bend } from "./spy";

/** Some of these are INVALID to connection tracking, others would begin a connection. */
const SEGMENTS = ["ack", "syn | fin", "0", "rst", "fin | psh | urg", "syn | ack"];

/** How many packets a round sends at least: a SYN, a datagram, an echo request, and the segments. */
export const STRAYS = 3 + SEGMENTS.length;

export function backendOf({ lab }: Plane, family: Family): string {
  return (family === 4 ? lab.backends4 : lab.backends6)[0]!;
}

/**
 * Sends one of every kind and counts what the gateway got and what it let through.
 *
 * @param port the source port of the segments, which no other round may use
 */
export async function strays(
  plane: Plane,
  family: Family,
  port: number,
): Promise<{ sent: number; arrived: number }> {
  const { client, backends } = plane.lab;
  const [from, to] = [plane.from(family), backendOf(plane, family)];
  const ip = family === 4 ? "ip" : "ip6";
  const own = `${ip} saddr ${from} ${ip} daddr ${to}`;
  const sent = await arrivals(plane.gateway.namespace, own);
  const arrived = await arrivals(backends.namespace, own);
  await client.connect({ to, from, port: 80, timeout: 100 });
  await client.connect({ to, from, port: 53, protocol: "udp", timeout: 100 });
  await client.namespace.run(["busybox", "ping", "-q", "-c", "1", "-W", "1", "-I", from, to]);
  for (const flags of SEGMENTS) {
    const bent = await bend(client.namespace, `tcp sport ${port}`, [`tcp flags set ${flags}`]);
    await client.connect({ to, from, port: 80, timeout: 100, fromPort: port });
    expect(await bent.end(), flags).toBeGreaterThan(0);
  }
  return { sent: await sent.end(), arrived: await arrived.end() };
}
