import * as pulumi from "@pulumi/pulumi";
import { specError } from "../spec";
import { parseAddress } from "../spec/address";
import { checkShape, schemas } from "../spec/schema";
import type { LoadBalancerFarmArgs } from "./args";
import { asRunError } from "./error";
import type { NamedGateway } from "./gateway";

/** Two dials of the provider that meet silence (15 s each), and then some. */
const DEFAULT_SECONDS = 60;

/** What the user asked for, in seconds. @throws RunError where it comes from another resource and is wrong */
export function askedConfirm(
  name: string,
  { confirm }: LoadBalancerFarmArgs,
): pulumi.Output<number> | undefined {
  return confirm && pulumi.output(confirm).apply((args) => asRunError(() => checked(name, args)));
}

export function describeConfirm(seconds: number): string {
  return seconds === 0 ? "never: a change counts at once" : `within ${seconds} s`;
}

/**
 * The seconds within which a gateway's new set must be confirmed; 0 where it counts at once.
 *
 * @param asked what {@link askedConfirm} gave
 * @returns undefined where it is 0 for certain, so that nothing need be there to confirm. An Output may still come to 0.
 */
export function confirmSeconds(
  { confirm, listeners }: LoadBalancerFarmArgs,
  { connection, gone = false }: NamedGateway,
  asked: pulumi.Output<number> | undefined,
): pulumi.Output<number> | undefined {
  if (gone || confirm?.withinSeconds === 0) return undefined;
  if (asked) return asked;
  const addresses = listeners.map(({ address }) => address);
  const { host } = connection;
  if (typeof host === "string" && addresses.every((address) => typeof address === "string"))
    return touchesSsh(host, addresses) ? pulumi.output(DEFAULT_SECONDS) : undefined;
  // That two addresses are the same is no secret.
  return pulumi.unsecret(
    pulumi
      .all([host, pulumi.all(addresses)])
      .apply(([at, all]) => (touchesSsh(at, all) ? DEFAULT_SECONDS : 0)),
  );
}

function checked(name: string, confirm: { withinSeconds: number }): number {
  const problems = checkShape(schemas.confirm, confirm).map(({ path, text }) => ({
    path: ["confirm", ...path],
    text,
  }));
  if (problems.length > 0) throw specError(name, problems);
  return confirm.withinSeconds;
}

/** Whether SSH comes in by one of these addresses. A name that SSH dials says nothing of its addresses. */
export function touchesSsh(host: string, addresses: readonly string[]): boolean {
  const ssh = parseAddress(host)?.text;
  return ssh !== undefined && addresses.some((address) => parseAddress(address)?.text === ssh);
}
