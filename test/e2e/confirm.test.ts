import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Engine } from "../support/engine/engine";
import type { PulumiStack } from "../support/engine/stack";
import type { Gateway, Lab } from "../support/lab";
import { FrontDoor } from "../support/lab/front-door";
import {
  counts,
  EVEN,
  edge,
  everything,
  type FarmData,
  farm,
  leftovers,
  rewrite,
  stackOf,
  underTraffic,
  useScene,
  VIP,
} from "./support";

/** Changes on trial, with SSH that really is cut: by a farm at the very address that SSH comes in by. */

/** Long enough for two `up` on a busy machine, since a set that is brought in again waits for the second. */
const SECONDS = 45;
const DOOR = "203.0.113.50";

let lab: Lab;
let engine: Engine;
let gateway: Gateway;
let door: FrontDoor;

useScene({}, async (scene) => {
  ({ lab, engine, gateway } = scene);
  door = await FrontDoor.open(lab, gateway, DOOR);
});

afterAll(() => door?.close());

const commands = async (stack: PulumiStack): Promise<string[]> =>
  (await stack.resources()).map(({ urn }) => urn.split("::").at(-1) ?? "").sort();

/** All that a farm could touch, but what is kept of trials. Farms that share a chain stand in it by who came last. */
const everythingElse = async (): Promise<string[]> =>
  (await everything(gateway))
    .split("\n")
    .filter((line) => !line.includes("/netfilter-lb/trials"))
    .sort();

describe.each(["nftables", "iptables"] as const)("%s", (dataPlane) => {
  // It dials for longer than a trial lasts, as the provider does that meets silence.
  const farmOf = (more: Partial<FarmData> = {}): FarmData =>
    farm("web", [edge(gateway, { dataPlane }, { ...door.connection, dialErrorLimit: 60 })], {
      confirm: { withinSeconds: SECONDS },
      ...more,
    });
  /** Every port of the address that SSH comes in by: the way on to sshd is behind it. */
  const cutting = (): FarmData =>
    farmOf({
      listeners: [
        { address: VIP, protocol: "tcp", port: 80 },
        { address: DOOR, protocol: "all" },
      ],
    });
  // Holds the shared maps of every kind, which come with the first farm that needs them and go with the last farm of all.
  const neighbour = (): FarmData =>
    farm("neighbour", [edge(gateway, { dataPlane }, { ...door.connection, dialErrorLimit: 60 })], {
      listeners: [{ address: "203.0.113.60", protocol: "all" }],
    });
  let stack: PulumiStack;
  let before: string[];

  beforeAll(async () => {
    await door.moveTo(DOOR);
    stack = await stackOf(engine, [farmOf(), neighbour()], [gateway]);
  });

  it("confirms what leaves SSH open, and dials nobody where nothing changed", async () => {
    await stack.up();
    expect(await commands(stack)).toContain("web-edge-1-confirm");
    expect(await counts(lab, 10)).toEqual(EVEN);
    expect(await gateway.sh("netfilter-lb verify")).toBe("in step: all farms\n");
    before = await everythingElse();
    const { dials } = door;
    await stack.up();
    expect(door.dials).toBe(dials);
  });

  it("goes back from what cuts SSH off, and says what happened and what to do", async () => {
    await rewrite(stack, [cutting(), neighbour()]);
    const { refused } = door;
    // There and back without a gap for those whose service is in both sets.
    const { result } = await underTraffic(lab, () => stack.up({ fails: true }));
    const { output } = result;
    expect(door.refused).toBeGreaterThan(refused);
    expect(output).toContain(`the new set of farm web was not confirmed within ${SECONDS} s`);
    expect(output).toContain(
      "If the new set shuts SSH out, change the farm; if the connection failed for another reason, run pulumi up again",
    );
    expect(await everythingElse()).toEqual(before);
    expect(await counts(lab, 10)).toEqual(EVEN);
  });

  it("brings the set in again when it is wanted again, and keeps it once it is confirmed", async () => {
    await door.moveTo("203.0.113.51");
    const again = await stack.up({ fails: true });
    expect(again.output).toContain(
      `the set of farm web that was not confirmed before is in force again, on trial for ${SECONDS} s: run pulumi up once more`,
    );
    await stack.up();
    expect(await gateway.sh("ls /etc/netfilter-lb/trials")).toBe("");
    expect(await counts(lab, 10, { to: DOOR })).toEqual(EVEN);
    const { dials } = door;
    await stack.up();
    expect(door.dials).toBe(dials);
  });

  it("confirms again what is applied again by force", async () => {
    const urn = (await stack.resources()).find((resource) => resource.urn.endsWith("::web-edge-1"))!.urn;
    await stack.up({ args: ["--replace", urn] });
    expect(await gateway.sh("netfilter-lb verify")).toBe("in step: all farms\n");
    expect(await gateway.sh("ls /etc/netfilter-lb/trials")).toBe("");
  });

  it("leaves nothing behind", async () => {
    await stack.destroy();
    expect(await leftovers(gateway)).toBe("");
  });
});
