import * as pulumi from "@pulumi/pulumi";

/**
 * Warns, in the preview already, where a gateway keeps its name but gets another address: if that is another machine, nobody
 * would take the rules off the old one.
 *
 * @returns the hook, or undefined where the engine has none (unit tests with `setMocks` among them)
 */
export function movedHook(gateway: string): pulumi.ResourceHook | undefined {
  const monitor = pulumi.runtime.getMonitor() as { registerResourceHook?: unknown } | undefined;
  if (typeof monitor?.registerResourceHook !== "function") return undefined;
  return new pulumi.ResourceHook(`netfilter-lb-${gateway}-moved`, warnIfMoved, {
    onDryRun: true,
    ignoreErrors: true,
  });

  function warnIfMoved({ oldInputs, newInputs }: pulumi.ResourceHookArgs): void {
    // Not awaited: a host that is not known yet would never come. The connection arrives as a secret.
    pulumi.all([hostIn(oldInputs), hostIn(newInputs)]).apply(([before, after]) => {
      if (before === undefined || after === undefined || before === after) return;
      pulumi.log.warn(
        `gateway ${gateway} was at ${before} and is at ${after} now. If that is another machine, give it another name: under ` +
          "the same name nothing takes the rules off the old one",
      );
    });
  }
}

function hostIn(inputs: Record<string, unknown> | undefined): pulumi.Output<string | undefined> {
  return pulumi.unsecret(
    pulumi
      .output(inputs?.connection as { host?: string } | undefined)
      .apply((connection) => connection?.host),
  );
}
