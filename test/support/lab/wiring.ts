/**
 * Links, addresses and routes between the hosts of a lab.
 *
 * Every gateway has one veth pair to the client and one to the backends; everything is routed, nothing is bridged. The
 * pairs are made inside the namespaces, so the machine's own never holds an end of one.
 */

import { backLink, clientBlocks, crowdBlock, type Family, familyOf, frontLink, type Link } from "./addresses";
import type { Namespace } from "./namespace";

const families = [4, 6] as const;

/** A gateway as the wiring sees it. */
export interface Node {
  /** Its place in the address plan, from 0. */
  readonly index: number;
  readonly namespace: Namespace;
  /** Interface towards the client. */
  readonly front: string;
  /** Interface towards the backends. */
  readonly back: string;
}

/** The client's and the backends' interface to gateway `index`. */
function interfaceTo(index: number): string {
  return `gw${index}`;
}

/** The routing table that leads to gateway `index` only. */
function tableOf(index: number): number {
  return 100 + index;
}

/** Everything on the client's side that does not depend on a link being up. */
export async function wireClient(client: Namespace, gateways: number): Promise<void> {
  for (const family of families) {
    const lines: string[] = [];
    for (let index = 0; index < gateways; index++) {
      // A local route makes every address of the block the client's own, without thousands of addresses.
      lines.push(`route add local ${crowdBlock(index, family)} dev lo`);
      for (const block of clientBlocks(index, family)) {
        lines.push(`rule add from ${block} lookup ${tableOf(index)}`);
      }
    }
    await client.ip(lines, `-${family}`);
  }
}

/**
 * Everything on the backends' side that does not depend on a link being up: their addresses, and that replies leave
 * through the gateway which brought the request. The first gateway is the default route, the others need a mark.
 */
export async function wireBackends(
  backends: Namespace,
  addresses: readonly string[],
  gateways: number,
): Promise<void> {
  for (const family of families) {
    const own = addresses.filter((address) => familyOf(address) === family);
    const lines = own.map((address) => `addr add ${host(address)} dev lo`);
    for (let index = 1; index < gateways; index++) {
      lines.push(`rule add fwmark ${index} lookup ${tableOf(index)}`);
    }
    await backends.ip(lines, `-${family}`);
  }
  if (gateways > 1) await backends.sh("nft -f -", { input: replyThroughSameGateway(gateways) });
}

function replyThroughSameGateway(gateways: number): string {
  const arrivals = Array.from({ length: gateways - 1 }, (_, k) => {
    return `\t\tiifname "${interfaceTo(k + 1)}" ct mark set ${k + 1}\n`;
  });
  return `table inet lab {
	chain arrival {
		type filter hook prerouting priority mangle
${arrivals.join("")}	}
	chain reply {
		type route hook output priority mangle
		ct mark != 0 meta mark set ct mark
	}
}
`;
}

/** Plugs a gateway in: both its links, and every route that leads over them. Again after a reboot. */
export async function wireGateway(
  gateway: Node,
  client: Namespace,
  backends: Namespace,
  addresses: readonly string[],
): Promise<void> {
  const { index, namespace, front, back } = gateway;
  const port = interfaceTo(index);
  await Promise.all([
    client.ip([
      `link add ${port} type veth peer name ${front} netns ${namespace.pid}`,
      `link set ${port} up`,
    ]),
    backends.ip([
      `link add ${port} type veth peer name ${back} netns ${namespace.pid}`,
      `link set ${port} up`,
    ]),
  ]);
  await namespace.ip([`link set ${front} up`, `link set ${back} up`]);

  for (const family of families) {
    const clientSide = frontLink(index, family);
    const backendSide = backLink(index, family);
    const behind = addresses.filter((address) => familyOf(address) === family);
    await Promise.all([
      client.ip(neighbourRoutes(index, clientSide), `-${family}`),
      backends.ip([...neighbourRoutes(index, backendSide), ...clientRoutes(index, family)], `-${family}`),
      namespace.ip(
        [
          addressOn(front, clientSide.gateway, clientSide),
          addressOn(back, backendSide.gateway, backendSide),
          `route add default via ${clientSide.neighbour} dev ${front}`,
          `route add ${crowdBlock(index, family)} via ${clientSide.neighbour} dev ${front}`,
          ...behind.map((address) => `route add ${host(address)} via ${backendSide.neighbour} dev ${back}`),
        ],
        `-${family}`,
      ),
    ]);
  }
}

/**
 * Plugs in a host of its own in the backends' subnet: it reaches backends directly and anything else through the
 * gateways, as behind one switch.
 */
export async function wireNeighbour(
  number: number,
  neighbour: Namespace,
  backends: Namespace,
  gateways: readonly Node[],
  addresses: readonly string[],
): Promise<void> {
  const port = `nb${number}`;
  const routers: Record<Family, string> = { 4: "169.254.1.1", 6: "fe80::1" };
  await backends.ip([
    `link add ${port} type veth peer name eth0 netns ${neighbour.pid}`,
    `link set ${port} up`,
  ]);
  await neighbour.ip(["link set eth0 up"]);
  await backends.sh("echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
  for (const family of families) {
    const own = addresses.filter((address) => familyOf(address) === family);
    await backends.ip(
      [
        addressOn(port, routers[family], { gateway: "", neighbour: "", prefix: family === 4 ? 32 : 64 }),
        ...own.map((address) => `route add ${host(address)} dev ${port}`),
      ],
      `-${family}`,
    );
    await neighbour.ip(
      [
        ...own.map((address) => `addr add ${host(address)} dev eth0`),
        ...(family === 4 ? [`route add ${routers[4]} dev eth0`] : []),
        `route add default via ${routers[family]} dev eth0`,
      ],
      `-${family}`,
    );
    for (const { index, namespace, back } of gateways)
      await namespace.ip(
        own.map(
          (address) => `route add ${host(address)} via ${backLink(index, family).neighbour} dev ${back}`,
        ),
        `-${family}`,
      );
  }
}

/** Pulls both plugs. Routes over the links go with them. */
export async function unplugGateway(index: number, client: Namespace, backends: Namespace): Promise<void> {
  await Promise.all([client, backends].map((side) => side.ip([`link del ${interfaceTo(index)}`])));
}

function neighbourRoutes(index: number, link: Link): string[] {
  const port = interfaceTo(index);
  const viaGateway = `default via ${link.gateway} dev ${port}`;
  return [
    addressOn(port, link.neighbour, link),
    `route add ${viaGateway} metric ${tableOf(index)}`,
    `route add ${viaGateway} table ${tableOf(index)}`,
  ];
}

/** What a backend begins itself, such as a data connection of FTP, goes to the gateway that the client is behind. */
function clientRoutes(index: number, family: Family): string[] {
  const { gateway } = backLink(index, family);
  return clientBlocks(index, family).map(
    (block) => `route add ${block} via ${gateway} dev ${interfaceTo(index)}`,
  );
}

function addressOn(port: string, address: string, { prefix }: Link): string {
  const nodad = familyOf(address) === 6 ? " nodad" : "";
  return `addr add ${address}/${prefix} dev ${port}${nodad}`;
}

/** One address as a prefix of full length. */
function host(address: string): string {
  const lengths: Record<Family, number> = { 4: 32, 6: 128 };
  return `${address}/${lengths[familyOf(address)]}`;
}
