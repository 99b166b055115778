import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { installCommand, type Owner, prepareCommand, retireCommand, toolText } from "../host/commands";
import type { ConnectionArgs, GatewayArgs } from "./args";
import { Registry } from "./registry";

/** A gateway with its name. */
export type NamedGateway = GatewayArgs & { name: string };

/** A gateway that is set up, once a stack however many farms use it. */
export interface Host {
  owner: Owner;
  gateway: NamedGateway;
  /** The farm that named the gateway first. */
  farm: string;
  command: command.remote.Command;
}

/**
 * The set-up of a gateway: the first farm that names it creates it, the others share it.
 *
 * It has no parent, so its URN does not depend on that farm. It has no triggers: a change of connection or tool is
 * an update, because a replacement would take every farm of the machine down.
 *
 * @throws RunError where two farms describe the gateway differently
 */
export function hostOf(
  gateway: NamedGateway,
  farm: string,
  provider: pulumi.ProviderResource | undefined,
): Host {
  const { hosts } = Registry.current();
  const known = hosts.get(gateway.name);
  if (known) {
    const field = firstDifference(known.gateway, gateway);
    if (field)
      throw new pulumi.RunError(
        `farm ${farm} and farm ${known.farm} describe gateway ${gateway.name} differently (${field}); ` +
          "keep one description of a gateway and give it to both",
      );
    return known;
  }
  const owner = { project: pulumi.getProject(), stack: pulumi.getStack(), gateway: gateway.name };
  const managed = (gateway.tool ?? "managed") === "managed";
  const options = { sudo: gateway.sudo ?? false };
  const host = {
    owner,
    gateway,
    farm,
    command: new command.remote.Command(
      `netfilter-lb-${gateway.name}`,
      {
        connection: connectionOf(gateway.connection),
        create: managed ? installCommand(owner, options) : prepareCommand(owner, options),
        ...(managed ? { stdin: toolText() } : {}),
        delete: retireCommand(owner, { ...options, uninstall: managed }),
        ...QUIET,
      },
      {
        ...(provider && { provider }),
        ...goneOptions(gateway),
      },
    ),
  };
  hosts.set(gateway.name, host);
  return host;
}

/** A machine that is gone is never dialled again: neither to change what is on it nor to take it off. */
export function goneOptions({ gone = false }: NamedGateway): pulumi.CustomResourceOptions {
  return { retainOnDelete: gone, ignoreChanges: gone ? ["*"] : [] };
}

/** Nothing of a call is kept or printed but what the tool says. */
export const QUIET = { addPreviousOutputInEnv: false, logging: command.remote.Logging.None } as const;

/** What the provider is given: the user's fields without ours. */
export function connectionOf({
  insecureIgnoreHostKey: _,
  ...connection
}: ConnectionArgs): command.types.input.remote.ConnectionArgs {
  return connection;
}

/**
 * The first field in which two descriptions of a gateway differ. Values that are not known yet cannot be compared, except
 * that the very same Output is the same.
 */
function firstDifference(a: unknown, b: unknown, path = ""): string | undefined {
  if (a === b || !isPlain(a) || !isPlain(b)) return undefined;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return path;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
    const difference = firstDifference(left[key], right[key], path === "" ? key : `${path}.${key}`);
    if (difference !== undefined) return difference;
  }
  return undefined;
}

function isPlain(value: unknown): boolean {
  return !pulumi.Output.isInstance(value) && !(value instanceof Promise);
}
