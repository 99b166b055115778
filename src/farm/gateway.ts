import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { TargetSpec } from "../spec/types";
import type { ConnectionArgs, GatewayArgs } from "./args";
import { describeTarget } from "./describe";

/** A gateway with its name. */
export type NamedGateway = GatewayArgs & { name: string };

/** What rules are written for. */
export function targetOf(gateway: NamedGateway): pulumi.Output<TargetSpec> {
  const { dataPlane, layout, markMask } = gateway;
  return pulumi.output({
    dataPlane,
    layout,
    interface: gateway.interface,
    markMask,
  }) as pulumi.Output<TargetSpec>;
}

/** Gateway to a sentence, for a component's inputs. */
export function describeGateways(gateways: readonly NamedGateway[]): Record<string, pulumi.Output<string>> {
  return Object.fromEntries(
    gateways.map((gateway) => [
      gateway.name,
      pulumi.interpolate`${targetOf(gateway).apply(describeTarget)}, at ${gateway.connection.host} port ${gateway.connection.port ?? 22}`,
    ]),
  );
}

/**
 * A Command on a gateway. Nothing of its call is kept or printed but what the tool says. It is deleted before it is replaced: a
 * replaced host finds its farms gone before it retires, and one that is tainted does not take away what the new one set up.
 *
 * A machine that is gone is never dialled again: neither to change what is on it nor to take it off.
 */
export function commandOn(
  gateway: NamedGateway,
  name: string,
  args: Omit<command.remote.CommandArgs, "connection">,
  options: pulumi.CustomResourceOptions,
): command.remote.Command {
  const { connection, gone = false } = gateway;
  return new command.remote.Command(
    name,
    {
      ...args,
      connection: connectionOf(connection),
      addPreviousOutputInEnv: false,
      logging: command.remote.Logging.None,
    },
    { ...options, deleteBeforeReplace: true, retainOnDelete: gone, ...(gone && { ignoreChanges: ["*"] }) },
  );
}

/** What the provider is given: the user's fields without ours. */
export function connectionOf({
  insecureIgnoreHostKey: _,
  ...connection
}: ConnectionArgs): command.types.input.remote.ConnectionArgs {
  return connection;
}

/**
 * The first field in which two descriptions of a gateway differ; its interface is each farm's own affair, and so is the load
 * that a farm brings.
 *
 * Values that are not known yet cannot be compared and pass.
 */
export function firstDifference(
  { interface: _a, capacity: _c, ...a }: NamedGateway,
  { interface: _b, capacity: _d, ...b }: NamedGateway,
): string | undefined {
  return difference(a, b, "");
}

function difference(a: unknown, b: unknown, path: string): string | undefined {
  if (a === b || !isPlain(a) || !isPlain(b)) return undefined;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return path;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
    const found = difference(left[key], right[key], path === "" ? key : `${path}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isPlain(value: unknown): boolean {
  return !pulumi.Output.isInstance(value) && !(value instanceof Promise);
}
