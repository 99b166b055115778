import * as pulumi from "@pulumi/pulumi";
import { describe, expect, test } from "vitest";
import type { GatewayArgs, LoadBalancerFarmArgs } from "../../src";
import { EDGE, farm } from "./farms";
import { type Made, run, UNKNOWN, unknown } from "./program";

/** Changes that must be confirmed, as resources. */

const TRIAL = / --confirm (\d+)$/;

function commandsOf(made: Made[], gateway = "edge-1"): { apply: string; confirm: string | undefined } {
  const create = (name: string) => made.find((resource) => resource.name === name)?.inputs.create as string;
  return { apply: create(`web-${gateway}`), confirm: create(`web-${gateway}-confirm`) };
}

/** The listener that SSH comes in by, on a port of its own. */
const TOUCHES_SSH: Partial<LoadBalancerFarmArgs> = {
  listeners: [{ address: "198.51.100.7", protocol: "tcp", port: 80 }],
};

describe("a farm whose changes must be confirmed", () => {
  test("has them applied on trial, and confirmed by a Command of its own a gateway", async () => {
    const gateways: GatewayArgs[] = [EDGE, { ...EDGE, name: "edge-2", sudo: true }];
    const made = await run(() => farm("web", { gateways, confirm: { withinSeconds: 30 } }));
    for (const gateway of ["edge-1", "edge-2"]) {
      const { apply, confirm } = commandsOf(made, gateway);
      const [, hash] = /--sha256 ([0-9a-f]{64}) /.exec(apply) ?? [];
      expect(apply).toMatch(/ --ssh "\$SSH_CONNECTION" --confirm 30$/);
      expect(confirm).toBe(
        `${gateway === "edge-2" ? "sudo -n " : ""}/usr/local/sbin/netfilter-lb confirm web ` +
          `--owner project/stack/${gateway} --sha256 ${hash} --within 30 --ssh "$SSH_CONNECTION"`,
      );
    }
    expect(made).toHaveLength(7);
  });

  test("confirms again what is applied again, and dials nobody when it goes", async () => {
    const made = await run(() => farm("web", { confirm: { withinSeconds: 30 } }));
    const confirm = made.find(({ name }) => name === "web-edge-1-confirm")!;
    expect(confirm).toMatchObject({
      type: "command:remote:Command",
      parent: "web",
      deleteBeforeReplace: true,
    });
    expect(confirm.inputs.triggers).toEqual(["web-edge-1-id"]);
    expect(Object.keys(confirm.inputs).sort()).toEqual(
      ["addPreviousOutputInEnv", "connection", "create", "logging", "triggers"].sort(),
    );
    expect(confirm.inputs).toMatchObject({ addPreviousOutputInEnv: false, logging: "none" });
  });

  test("says so to who reviews a preview", async () => {
    const confirmOf = async (withinSeconds: number) =>
      (await run(() => farm("web", { confirm: { withinSeconds } }))).find(({ name }) => name === "web")!
        .inputs.confirm;
    expect(await confirmOf(30)).toBe("within 30 s");
    expect(await confirmOf(0)).toBe("never: a change counts at once");
  });

  test("confirms nothing on a machine that is gone", async () => {
    const made = await run(() =>
      farm("web", { gateways: [{ ...EDGE, gone: true }], confirm: { withinSeconds: 30 } }),
    );
    expect(commandsOf(made).confirm).toBeUndefined();
  });

  test("takes the seconds from another resource", async () => {
    const made = await run(() => farm("web", { confirm: { withinSeconds: pulumi.output(45) } }));
    expect(commandsOf(made).apply).toMatch(/ --confirm 45$/);
    const off = commandsOf(await run(() => farm("web", { confirm: { withinSeconds: pulumi.output(0) } })));
    expect(off.apply).not.toMatch(TRIAL);
    expect(off.confirm).toBe(":");
    const later = commandsOf(
      await run(() => farm("web", { confirm: { withinSeconds: unknown() } }), { preview: true }),
    );
    expect(later).toEqual({ apply: UNKNOWN, confirm: UNKNOWN });
  });
});

describe("without a word about it", () => {
  const at = (host: pulumi.Input<string>) => [{ ...EDGE, connection: { ...EDGE.connection, host } }];

  test("a farm at the address that SSH comes in by has 60 seconds, others none", async () => {
    expect(commandsOf(await run(() => farm("web", TOUCHES_SSH))).apply).toMatch(/ --confirm 60$/);
    const { apply, confirm } = commandsOf(await run(() => farm("web")));
    expect(apply).not.toMatch(TRIAL);
    expect(confirm).toBeUndefined();
  });

  test("0 switches it off", async () => {
    const made = await run(() => farm("web", { ...TOUCHES_SSH, confirm: { withinSeconds: 0 } }));
    expect(commandsOf(made).apply).not.toMatch(TRIAL);
    expect(commandsOf(made).confirm).toBeUndefined();
  });

  test("each gateway by its own address", async () => {
    const gateways = [
      EDGE,
      { ...EDGE, name: "edge-2", connection: { ...EDGE.connection, host: "198.51.100.8" } },
    ];
    const made = await run(() => farm("web", { ...TOUCHES_SSH, gateways }));
    expect(commandsOf(made, "edge-1").confirm).toContain(" --within 60 ");
    expect(commandsOf(made, "edge-2").confirm).toBeUndefined();
  });

  test("an address in another spelling is the same", async () => {
    const listeners = [{ address: "2001:db8::7", protocol: "tcp" as const, port: 80 }];
    const backends = [{ address: "2001:db8:1::3" }];
    const made = await run(() => farm("web", { gateways: at("2001:DB8:0:0::7"), listeners, backends }));
    expect(commandsOf(made).apply).toMatch(/ --confirm 60$/);
  });

  test("an address that another resource gives is compared when it is known, and is still no secret", async () => {
    const secret = pulumi.secret("198.51.100.7");
    expect(
      commandsOf(await run(() => farm("web", { ...TOUCHES_SSH, gateways: at(secret) }))).confirm,
    ).toContain(" --within 60 ");
    const { apply, confirm } = commandsOf(
      await run(() => farm("web", { gateways: at(pulumi.output("198.51.100.9")) })),
    );
    expect(apply).not.toMatch(TRIAL);
    expect(confirm).toBe(":");
  });
});
