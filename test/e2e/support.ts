/** What the end-to-end tests share: farms as data for a real engine, what a gateway holds, traffic while things change. */

import { afterAll, beforeAll, expect, vi } from "vitest";
import type { BackendSpec, ListenerSpec } from "../../src/core";
import type { Drift, GatewayArgs } from "../../src/index";
import { Engine } from "../support/engine/engine";
import type { ProjectOptions } from "../support/engine/project";
import type { PulumiStack } from "../support/engine/stack";
import { type Gateway, Lab, type LabOptions, type ServeOptions } from "../support/lab";
import type { Connection } from "../support/lab/ssh";
import type { ConnectOptions, SteadyResult } from "../support/traffic/types";

/** One `up` takes two seconds, and a multiple of that on a machine that is busy. */
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

export const VIP = "203.0.113.10";

/** Ten connections to a {@link farm} as it comes. */
export const EVEN = { "192.0.2.1": 5, "192.0.2.2": 5 };

export interface Scene {
  lab: Lab;
  engine: Engine;
  /** The first one of the lab. */
  gateway: Gateway;
}

/**
 * A lab and an engine, from before a file's first test until after its last.
 *
 * @param options of the lab, and what its backends serve (port 80 unless told)
 * @param begin keeps what the file needs of it, and does what comes before its first test
 */
export function useScene(
  { serve = { tcp: [80] }, ...options }: LabOptions & { serve?: ServeOptions },
  begin: (scene: Scene) => unknown,
): void {
  let lab: Lab;
  let engine: Engine;
  beforeAll(async () => {
    lab = await Lab.create(options);
    engine = await Engine.open();
    await lab.backends.serve(serve);
    await begin({ lab, engine, gateway: lab.gateway() });
  });
  afterAll(() => Promise.all([engine?.close(), lab?.close()]));
}

/** A gateway as a program describes it. In its connection, `privateKey` names the secret setting that has the key. */
export type GatewayData = Omit<GatewayArgs, "connection"> & { name: string; connection: object };

/** A farm of a program. */
export interface FarmData {
  name: string;
  gateways: GatewayData[];
  listeners: ListenerSpec[];
  backends: BackendSpec[];
  algorithm?: string;
  sourceNat?: string;
  confirm?: { withinSeconds: number };
  drift?: Drift;
  /** The farm, further up in the list, that this one depends on. */
  after?: string;
}

/** The farms of `farms.json`, so that a test changes data and not a program. */
const PROGRAM = `
import { readFileSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { LoadBalancerFarm } from "pulumi-netfilter-lb";

const keys = new pulumi.Config("keys");
const made = new Map<string, LoadBalancerFarm>();
for (const { name, after, ...args } of JSON.parse(readFileSync("farms.json", "utf8"))) {
  for (const { connection } of args.gateways)
    if (connection.privateKey) connection.privateKey = keys.requireSecret(connection.privateKey);
  made.set(name, new LoadBalancerFarm(name, args, { dependsOn: after ? [made.get(after)!] : [] }));
}
export const shares = Object.fromEntries([...made].map(([name, farm]) => [name, farm.shares]));
export const ruleSets = Object.fromEntries([...made].map(([name, farm]) => [name, farm.ruleSets]));
`;

/** A stack whose program has these farms; every gateway of the lab may be in it. */
export async function stackOf(
  engine: Engine,
  farms: readonly FarmData[],
  gateways: readonly Gateway[],
  options: ProjectOptions & { project?: string } = {},
): Promise<PulumiStack> {
  const secrets = Object.fromEntries(
    gateways.map(({ name, connection }) => [`keys:${name}`, connection.privateKey]),
  );
  return await engine.project(
    {
      "Pulumi.yaml": `name: ${options.project ?? "program"}\nruntime: nodejs\n`,
      "index.ts": PROGRAM,
      "farms.json": JSON.stringify(farms),
    },
    { ...options, secrets },
  );
}

/** Gives the program other farms. */
export async function rewrite(stack: PulumiStack, farms: readonly FarmData[]): Promise<void> {
  await stack.write({ "farms.json": JSON.stringify(farms) });
}

/** A gateway of the lab as a program describes it. */
export function edge(
  gateway: Gateway,
  more: Partial<GatewayData> = {},
  connection: Partial<Connection> & { dialErrorLimit?: number } = gateway.connection,
): GatewayData {
  return {
    name: gateway.name,
    dataPlane: "nftables",
    ...more,
    connection: { ...connection, privateKey: gateway.name },
  };
}

/** A farm at port 80 of {@link VIP}, with replies by way of the gateway. */
export function farm(name: string, gateways: GatewayData[], more: Partial<FarmData> = {}): FarmData {
  return {
    name,
    gateways,
    listeners: [{ address: VIP, protocol: "tcp", port: 80 }],
    backends: [{ address: "192.0.2.1" }, { address: "192.0.2.2" }],
    algorithm: "roundRobin",
    ...more,
  };
}

/** The settings that `examples/gateway.ts` reads for the gateway of that name. */
export function gatewaySettings(
  gateway: Gateway,
  more: Record<string, string | number> = {},
  name = gateway.name,
): Required<Pick<ProjectOptions, "config" | "secrets">> {
  const { host, port, user, hostKey, privateKey } = gateway.connection;
  const settings = { host, port, user, hostKey, ...more };
  return {
    config: prefix(name, settings),
    secrets: prefix(name, { privateKey }),
  };
}

function prefix<T>(name: string, settings: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(settings).map(([key, value]) => [`${name}:${key}`, value]));
}

/**
 * All that a farm could touch on a gateway: rules without counters and what they learned, files, forwarding. In an order that does not depend on
 * which table or chain was made first. Empty built-in chains of iptables, which it never removes itself, are left out.
 */
export async function everything(gateway: Gateway): Promise<string> {
  return await gateway.sh(`
    nft list tables 2>/dev/null | sort | while read -r word family table; do
      case $table in raw|mangle|nat|filter|security) ;; *) nft -s list table $family $table ;; esac
    done | awk '/^\\t}/ { learns = 0 } /flags dynamic/ { learns = 1 } learns && /elements = {/ { learned = 1 }
      !learned { print } /}/ { learned = 0 }'
    for command in iptables ip6tables; do
      for table in raw mangle nat filter; do
        echo "== $command $table"
        $command -t $table -S 2>/dev/null | sort -s -k 1,2
      done
    done
    echo == files
    folders=$(ls -d /etc/netfilter-lb /etc/sysctl.d /etc/systemd /usr/local/sbin 2>/dev/null)
    find $folders -type f -exec sha256sum {} + | sort -k 2
    find $folders ! -type f ! -name multi-user.target.wants | sort
    cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding`);
}

/**
 * What is still on a gateway that this package put there; empty when it is as it was. The lock in /run may stay until the
 * next boot: removing a lock that another may wait for would let two in.
 */
export async function leftovers(gateway: Gateway): Promise<string> {
  return await gateway.sh(`
    nft list tables 2>/dev/null | grep netfilter_lb
    for save in iptables-save ip6tables-save; do $save 2>/dev/null | grep NFLB-; done
    find /etc /usr/local /run -name '*netfilter-lb*' ! -path /run/netfilter-lb.lock 2>/dev/null
    :`);
}

/** Connects every 20 ms while `action` runs. No connection may be lost, nor a packet of one. */
export async function underTraffic<T>(
  lab: Lab,
  action: () => Promise<T>,
  target: Partial<ConnectOptions> = {},
): Promise<{ result: T; seen: SteadyResult }> {
  const steady = await lab.client.steady({ to: VIP, port: 80, every: 20, ...target });
  let result: T;
  let seen: SteadyResult;
  try {
    result = await action();
  } finally {
    seen = await steady.stop();
  }
  expect(seen.lost).toEqual([]);
  // An answer after a second or more: a SYN was dropped and sent again.
  expect(seen.slow).toBe(0);
  expect(seen.count).toBeGreaterThan(20);
  return { result, seen };
}

/** Backend → connections of `count` from the client. Fails where one is lost. */
export async function counts(
  lab: Lab,
  count: number,
  target: Partial<ConnectOptions> = {},
): Promise<Readonly<Record<string, number>>> {
  const { counts, lost, failures } = await lab.client.connect({ to: VIP, port: 80, count, ...target });
  expect(lost, JSON.stringify(failures)).toBe(0);
  return counts;
}
