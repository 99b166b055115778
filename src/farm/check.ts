import { canAsk } from "../host/ask";
import { relations, soundness, specError } from "../spec";
import { parseAddress } from "../spec/address";
import { checkTarget } from "../spec/check-target";
import type { Soundness } from "../spec/entry";
import { gatewayNameProblem } from "../spec/name";
import { isPort } from "../spec/ports";
import { type Problem, show } from "../spec/problem";
import { checkName, checkShape, PENDING, schemas } from "../spec/schema";
import { formatService, servicesOf, servicesOverlap } from "../spec/service";
import type { FarmSpec } from "../spec/types";
import { Drift, type GatewayArgs, type LoadBalancerFarmArgs } from "./args";
import type { NamedGateway } from "./gateway";
import { withPending } from "./pending";

/** A farm's arguments in which what is not known yet is `PENDING`. */
type KnownArgs = FarmSpec & { gateways: GatewayArgs[]; drift?: Drift };

/**
 * Checks what is known of the arguments before anything is created, and names the gateways.
 *
 * @throws SpecError with every problem
 */
export function checkArgs(name: string, args: LoadBalancerFarmArgs): NamedGateway[] {
  const known = withPending(args) as KnownArgs;
  const shape = checkShape(schemas.args, known);
  const sound = soundness(known, shape);
  const problems = [
    ...checkName(name),
    ...shape,
    ...relations(known, shape),
    ...checkDrift(known),
    ...(Array.isArray(known?.gateways) ? known.gateways : []).flatMap((gateway, index) =>
      soundShape(shape, index) ? checkGateway(known, gateway, index, sound) : [],
    ),
  ];
  if (problems.length > 0) throw specError(name, problems);
  return named(args.gateways);
}

export function named(gateways: readonly GatewayArgs[]): NamedGateway[] {
  return gateways.map((gateway) => ({ ...gateway, name: nameOf(gateway) as string }));
}

/** A preview that cannot ask must not look like one that found nothing. */
function checkDrift({ drift }: KnownArgs): Problem[] {
  if ((drift !== Drift.Report && drift !== Drift.Repair) || canAsk()) return [];
  return [
    {
      path: ["drift"],
      text: `${show(drift)} asks the gateways by the package ssh2, which is not installed; run npm install ssh2, or leave drift out`,
    },
  ];
}

export function soundShape(shape: readonly Problem[], index: number): boolean {
  return !shape.some(({ path }) => path[0] === "gateways" && (path[1] ?? index) === index);
}

/** Undefined where what stands in a gateway's place is none. */
function nameOf(gateway: Partial<GatewayArgs> | undefined): unknown {
  return gateway?.name ?? gateway?.connection?.host;
}

function checkGateway(args: KnownArgs, gateway: GatewayArgs, index: number, sound: Soundness): Problem[] {
  return [
    ...checkMachine(args, gateway, index),
    ...checkFit(args, gateway, sound).map(({ path, text }) => ({ path: ["gateways", index, ...path], text })),
    ...checkLockOut(args, gateway, sound),
  ];
}

/** What is wrong with a gateway whatever farms it carries. */
export function checkMachine(args: Gateways, gateway: GatewayArgs, index: number): Problem[] {
  return [
    ...checkIdentity(args, gateway, index),
    ...checkHostKey(gateway).map(({ path, text }) => ({ path: ["gateways", index, ...path], text })),
  ];
}

/** What a gateway cannot do of a farm. @returns paths within the gateway */
export function checkFit(farm: FarmSpec, gateway: GatewayArgs, sound: Soundness): Problem[] {
  const { dataPlane, layout, markMask } = gateway as { markMask?: number } & GatewayArgs;
  const target = { dataPlane, ...(layout && { layout }), ...(typeof markMask === "number" && { markMask }) };
  return checkTarget(target, farm, sound);
}

interface Gateways {
  gateways: readonly GatewayArgs[];
}

function checkIdentity(args: Gateways, gateway: GatewayArgs, index: number): Problem[] {
  const path = ["gateways", index, "name"];
  const name = nameOf(gateway);
  if ((name as unknown) === PENDING)
    return [
      { path, text: "is missing, and the connection's host is not known yet; give the gateway a name" },
    ];
  const problem = gatewayNameProblem(name);
  if (problem !== undefined) return [{ path, text: `${show(name)} ${problem}` }];
  const twin = args.gateways.findIndex((other) => nameOf(other) === name);
  if (twin === index) return [];
  return [{ path, text: `${show(name)} is the name of gateways[${twin}] already; name each machine once` }];
}

function checkHostKey({ connection }: GatewayArgs): Problem[] {
  if (connection.hostKey !== undefined || connection.insecureIgnoreHostKey === true) return [];
  return [
    {
      path: ["connection", "hostKey"],
      text:
        "is missing; give the gateway's public key (ssh-keyscan -t ed25519 HOST, compared with the machine's own), or set " +
        "insecureIgnoreHostKey: true to talk to whoever answers",
    },
  ];
}

/** A listener must not catch what SSH sends to the gateway: the next `up` could not log in. */
export function checkLockOut(farm: FarmSpec, { connection }: GatewayArgs, sound: Soundness): Problem[] {
  const { host, port = 22 } = connection as { host: unknown; port?: unknown };
  const address = typeof host === "string" ? parseAddress(host) : undefined;
  if (!address || !isPort(port)) return [];
  const ssh = {
    family: address.family,
    address: address.text,
    protocol: "tcp",
    ports: { from: port, to: port },
  } as const;
  return (Array.isArray(farm.listeners) ? farm.listeners : []).flatMap((listener, index) => {
    if (!sound("listeners", index)) return [];
    const caught = servicesOf(listener).find((service) => servicesOverlap(service, ssh));
    if (!caught) return [];
    return [
      {
        path: ["listeners", index],
        text:
          `${formatService(caught)} catches SSH to this gateway (${formatService(ssh)}); ` +
          "leave that port out, or reach the gateway by another address",
      },
    ];
  });
}
