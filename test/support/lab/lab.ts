/**
 * The test lab: client — gateways — backends, as network namespaces on this machine.
 *
 * ```ts
 * const lab = await Lab.create({ gateways: ["edge-1"], backends: 3 });
 * await lab.gateway("edge-1").sh("sysctl -w net.ipv4.ip_forward=1");
 * await lab.backends.serve({ tcp: [80] });
 * const { counts } = await lab.client.connect({ to: "192.0.2.1", port: 80, count: 100 });
 * await lab.close();
 * ```
 */

import { Host } from "../traffic/host";
import {
  backendAddress,
  backLink,
  crowdAddress,
  type Family,
  familyOf,
  frontLink,
  MAX_GATEWAYS,
} from "./addresses";
import { trafficSetup } from "./files";
import { Gateway, type GatewayOptions } from "./gateway";
import { Namespace } from "./namespace";
import { checkRequirements } from "./requirements";
import { unplugGateway, wireBackends, wireClient, wireGateway, wireNeighbour } from "./wiring";

export interface LabOptions {
  /** By name, or with details. At most four. @default one, "edge-1" */
  readonly gateways?: readonly (string | GatewayOptions)[];
  /**
   * How many backends, each with an IPv4 and an IPv6 address of the lab's plan, or the very addresses that they have.
   * @default 2
   */
  readonly backends?: number | readonly string[];
}

export class Lab {
  private readonly neighbours: Host[] = [];

  private constructor(
    /** All clients: one host with many addresses. */
    readonly client: Host,
    /** All backends: one host with many addresses; an answer says which of them was reached. */
    readonly backends: Host,
    /** Every address that a backend has, both families. */
    readonly backendAddresses: readonly string[],
    private readonly gateways: Gateway[],
  ) {}

  static async create(options: LabOptions = {}): Promise<Lab> {
    const { gateways = ["edge-1"], backends = 2 } = options;
    if (gateways.length > MAX_GATEWAYS) throw new Error(`a lab has at most ${MAX_GATEWAYS} gateways`);
    checkRequirements();

    const addresses = typeof backends === "number" ? plannedBackends(backends) : backends;
    const [clientSide, backendSide] = await Promise.all([
      Namespace.start({ setup: trafficSetup }),
      Namespace.start({ setup: trafficSetup }),
    ]);
    const lab = new Lab(new Host(clientSide), new Host(backendSide, addresses), addresses, []);
    try {
      await wireClient(clientSide, gateways.length);
      await wireBackends(backendSide, addresses, gateways.length);
      const made = await Promise.allSettled(
        gateways.map((gateway, index) =>
          Gateway.create(
            index,
            typeof gateway === "string" ? { name: gateway } : gateway,
            (self) => wireGateway(self, clientSide, backendSide, addresses),
            (self) => unplugGateway(self.index, clientSide, backendSide),
          ),
        ),
      );
      for (const each of made) if (each.status === "fulfilled") lab.gateways.push(each.value);
      for (const each of made) if (each.status === "rejected") throw each.reason;
    } catch (error) {
      await lab.close();
      throw error;
    }
    return lab;
  }

  /** @param name - Default: the first one. */
  gateway(name?: string): Gateway {
    const found = name === undefined ? this.gateways[0] : this.gateways.find((each) => each.name === name);
    if (!found) throw new Error(`the lab has no gateway ${name}`);
    return found;
  }

  /** IPv4 addresses of the backends, in order. */
  get backends4(): string[] {
    return this.backendAddresses.filter((address) => familyOf(address) === 4);
  }

  /** IPv6 addresses of the backends, in order. */
  get backends6(): string[] {
    return this.backendAddresses.filter((address) => familyOf(address) === 6);
  }

  /** The address to connect from, to go through that gateway rather than through the first. */
  clientAddress(gateway: string, family: Family = 4): string {
    return frontLink(this.gateway(gateway).index, family).neighbour;
  }

  /** As many different client addresses that go through that gateway; for hashing and affinity. */
  clientAddresses(gateway: string, count: number, family: Family = 4): string[] {
    const { index } = this.gateway(gateway);
    return Array.from({ length: count }, (_, k) => crowdAddress(index, k, family));
  }

  /**
   * A host of its own in the backends' subnet: one that dials a farm from there, or a backend that does not share its
   * machine with the others. Not for a gateway that reboots.
   */
  async neighbour(addresses: readonly string[]): Promise<Host> {
    const namespace = await Namespace.start({ setup: trafficSetup });
    const neighbour = new Host(namespace, addresses);
    this.neighbours.push(neighbour);
    await wireNeighbour(this.neighbours.length, namespace, this.backends.namespace, this.gateways, addresses);
    return neighbour;
  }

  /** Which gateway the backends and their neighbours send through what is for this address. */
  async sendThrough(gateway: string, address: string): Promise<void> {
    const family = familyOf(address);
    const { gateway: via } = backLink(this.gateway(gateway).index, family);
    await this.backends.namespace.ip([`route replace ${address} via ${via}`], `-${family}`);
  }

  /** Ends every host. Calling it again does nothing. */
  async close(): Promise<void> {
    await Promise.all(this.gateways.map((gateway) => gateway.close()));
    await Promise.all([this.client, this.backends, ...this.neighbours].map((host) => host.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function plannedBackends(count: number): string[] {
  const families = [4, 6] as const;
  return families.flatMap((family) => Array.from({ length: count }, (_, k) => backendAddress(k, family)));
}
