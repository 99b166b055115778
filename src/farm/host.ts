import * as pulumi from "@pulumi/pulumi";
import { installCommand, ownerProblem, prepareCommand, retireCommand } from "../host/commands";
import { toolText } from "../host/tool";
import { checkShape, schemas } from "../spec/schema";
import { runError } from "./error";
import { commandOn, firstDifference, type NamedGateway } from "./gateway";
import { type Host, Registry } from "./registry";

/**
 * The set-up of a gateway: the first farm or group that names it creates it, the others share it.
 *
 * It has no parent, so its URN does not depend on that farm. It has no triggers: a change of connection or tool is
 * an update, because a replacement would take every farm of the machine down.
 *
 * @param user `farm web`, or `group edge`
 * @param component the farm or group, whose provider it goes through
 * @param opts what that was made with: the host waits for the same
 * @throws RunError where two farms describe the gateway differently, or the tool would not take its name
 */
export function hostOf(
  gateway: NamedGateway,
  user: string,
  component: pulumi.Resource,
  opts: pulumi.ComponentResourceOptions | undefined,
): Host {
  const { hosts } = Registry.current();
  const known = hosts.get(gateway.name);
  if (known) {
    const field = firstDifference(known.gateway, gateway);
    if (field)
      throw runError(
        `${user} and ${known.user} describe gateway ${gateway.name} differently (${field}); ` +
          "keep one description of a gateway and give it to both",
      );
    return known;
  }
  const owner = { project: pulumi.getProject(), stack: pulumi.getStack(), gateway: gateway.name };
  const problem = ownerProblem(owner);
  if (problem !== undefined) throw runError(`${user}: ${problem}`);
  const managed = (gateway.tool ?? "managed") === "managed";
  const call = { sudo: gateway.sudo ?? false };
  const provider = component.getProvider("command:remote:Command");
  const host = {
    owner,
    gateway,
    user,
    command: commandOn(
      gateway,
      `netfilter-lb-${gateway.name}`,
      {
        create: pulumi
          .all([checkedRepairs(gateway), gateway.lockForward])
          .apply(([repairEvery, lockForward]) =>
            (managed ? installCommand : prepareCommand)(owner, {
              ...call,
              repairEvery,
              dataPlane: gateway.dataPlane,
              lockForward,
            }),
          ),
        ...(managed && { stdin: toolText() }),
        delete: retireCommand(owner, { ...call, uninstall: managed }),
      },
      { ...(provider && { provider }), ...(opts?.dependsOn && { dependsOn: opts.dependsOn }) },
    ),
  };
  hosts.set(gateway.name, host);
  return host;
}

/** @throws RunError (in the preview, where the number comes from another resource) for one that is not right */
function checkedRepairs({
  name,
  repairEverySeconds,
}: NamedGateway): number | undefined | pulumi.Output<number | undefined> {
  // A plain one was checked with the other arguments.
  if (repairEverySeconds === undefined || typeof repairEverySeconds === "number") return repairEverySeconds;
  return pulumi.output(repairEverySeconds).apply((seconds) => {
    const [problem] = checkShape(schemas.repairEverySeconds, seconds);
    if (problem) throw runError(`gateway ${name}: repairEverySeconds: ${problem.text}`);
    return seconds;
  });
}
