import { relations, soundness, specError } from "../spec";
import type { Soundness } from "../spec/entry";
import { nameProblem } from "../spec/name";
import { formatProblem, type Problem, show } from "../spec/problem";
import { checkName, checkShape, PENDING, schemas } from "../spec/schema";
import type { FarmSpec } from "../spec/types";
import type { ConfirmArgs, GatewayArgs, LoadBalancerFarmsArgs } from "./args";
import { checkFit, checkLockOut, checkMachine, named, soundShape } from "./check";
import { touchesSsh } from "./confirm";
import type { NamedGateway } from "./gateway";
import { withPending } from "./pending";

/** A group's arguments in which what is not known yet is `PENDING`. */
interface KnownArgs {
  gateways: GatewayArgs[];
  farms: Record<string, FarmSpec>;
  confirm?: ConfirmArgs;
}

/**
 * Checks what is known of a group's arguments before anything is created, and names the gateways.
 *
 * @throws SpecError with every problem
 */
export function checkGroup(name: string, args: LoadBalancerFarmsArgs): NamedGateway[] {
  const known = withPending(args) as KnownArgs;
  const shape = checkShape(schemas.group, known);
  const gateways = (Array.isArray(known?.gateways) ? known.gateways : []).map((gateway, index) => ({
    gateway,
    index,
  }));
  const sound = gateways.filter(({ index }) => soundShape(shape, index));
  const problems = [
    ...checkName(name),
    ...shape,
    ...sound.flatMap(({ gateway, index }) => [
      ...checkMachine(known, gateway, index),
      ...checkLoad(gateway, index),
    ]),
    ...checkConfirm(known),
    ...checkFarms(known, sound),
  ];
  if (problems.length > 0) throw specError(name, problems, "group");
  return named(args.gateways);
}

function checkFarms(
  { farms, confirm }: KnownArgs,
  gateways: readonly { gateway: GatewayArgs; index: number }[],
): Problem[] {
  if (farms === undefined) return [];
  if (typeof farms !== "object" || farms === null || Array.isArray(farms))
    return [
      {
        path: ["farms"],
        text: `${show(farms)} is not an object; give each farm by its name, { web: { … } }`,
      },
    ];
  if (Object.keys(farms).length === 0)
    return [{ path: ["farms"], text: "is empty; give at least one farm, or leave the group out" }];
  return Object.entries(farms).flatMap(([name, farm]) => {
    const text = nameProblem(name);
    const shape = checkShape(schemas.farm, farm);
    const sound = soundness(farm, shape);
    const problems = [
      ...shape,
      ...relations(farm, shape),
      ...(shape.some(({ path }) => path.length === 0) ? [] : gateways).flatMap(({ gateway, index }) => [
        ...checkFit(farm, gateway, sound).map(({ path, text }) => ({
          path: [],
          text: formatProblem({ path: ["gateways", index, ...path], text }),
        })),
        ...checkLockOut(farm, gateway, sound),
        ...(confirm?.withinSeconds === 0 ? [] : checkTrial(farm, gateway, sound)),
      ]),
    ];
    return [
      ...(text === undefined ? [] : [{ path: ["farms", name], text: `${show(name)} ${text}` }]),
      ...problems.map(({ path, text }) => ({ path: ["farms", name, ...path], text })),
    ];
  });
}

/** A change that may shut SSH out must be confirmed, which only a farm of its own is. */
function checkTrial(farm: FarmSpec, { connection, gone }: GatewayArgs, sound: Soundness): Problem[] {
  if (gone === true || typeof connection.host !== "string" || !Array.isArray(farm.listeners)) return [];
  const host = connection.host;
  return farm.listeners.flatMap(({ address }, index) =>
    sound("listeners", index, "address") && touchesSsh(host, [address])
      ? [{ path: ["listeners", index, "address"], text: trialText(address) }]
      : [],
  );
}

export function trialText(address: string): string {
  return (
    `"${address}" is where SSH comes in, so a change there is to be confirmed, and a group goes without confirmation; make this farm a ` +
    "LoadBalancerFarm, or set confirm: { withinSeconds: 0 } here to let its changes count at once"
  );
}

function checkConfirm({ confirm }: KnownArgs): Problem[] {
  const seconds: unknown = confirm?.withinSeconds;
  if (seconds === undefined || seconds === 0) return [];
  return [
    {
      path: ["confirm", "withinSeconds"],
      text: `${seconds === PENDING ? "an Output" : show(seconds)} asks for a trial, which only a LoadBalancerFarm has; in a group there is only 0, for none`,
    },
  ];
}

/** A load is that of one farm. */
function checkLoad({ capacity }: GatewayArgs, index: number): Problem[] {
  return (["newConnectionsPerSecond", "connectionSeconds"] as const)
    .filter((field) => capacity?.[field] !== undefined)
    .map((field) => ({
      path: ["gateways", index, "capacity", field],
      text: "is about the load of a single farm, and goes with LoadBalancerFarm; leave it out in a group",
    }));
}
