import { beforeAll, describe, expect, it } from "vitest";
import { fault } from "../faults/fault";
import { type Engine, ROOT } from "../support/engine/engine";
import type { PulumiStack } from "../support/engine/stack";
import type { Lab } from "../support/lab";
import { chiSquareTest } from "../support/statistics";
import { counts, everything, gatewaySettings, leftovers, underTraffic, useScene } from "./support";

/** The project at the repository's root, from nothing to nothing. */

const BACKENDS = ["10.0.0.3", "10.0.0.4"];

let lab: Lab;
let engine: Engine;

useScene({ backends: BACKENDS, serve: { tcp: [80, 443] } }, (scene) => {
  ({ lab, engine } = scene);
  console.log(engine.description);
});

describe.each(["nftables", "iptables"])("quickstart on %s", (dataPlane) => {
  let stack: PulumiStack;
  let before: string;

  beforeAll(async () => {
    before = await everything(lab.gateway());
    stack = await engine.project(ROOT, gatewaySettings(lab.gateway(), { dataPlane }));
  });

  fault(
    60,
    `${dataPlane}, a new farm`,
    async () => {
      const dials = lab.gateway().sshConnections;
      const { stdout } = await stack.preview({ diff: true });
      expect(stdout).toContain("10.0.0.3");
      expect(lab.gateway().sshConnections).toBe(dials);
      expect(await everything(lab.gateway())).toBe(before);
      return {
        done: "pulumi preview --diff of a farm on a gateway that was never touched",
        held: "no connection was made to it; rules, files and forwarding as before",
        saw: /Resources:\s+(.*)/.exec(stdout)?.[1] ?? expect.fail(stdout),
      };
    },
    240_000,
  );

  it("goes up and spreads by weight", async () => {
    await stack.up();
    expect(await stack.outputs()).toEqual({ shares: { "10.0.0.3": 0.75, "10.0.0.4": 0.25 } });
    for (const port of [80, 443]) {
      const seen = await counts(lab, 600, { port });
      expect(
        chiSquareTest(
          BACKENDS.map((address) => seen[address] ?? 0),
          [3, 1],
        ),
      ).toBeGreaterThan(1e-6);
    }
    expect((await lab.gateway().sh("netfilter-lb verify")).trim()).toBe("in step: all farms");
  });

  fault(
    60,
    `${dataPlane}, another weight`,
    async () => {
      await stack.configure({ weight: 1 });
      const now = await everything(lab.gateway());
      const dials = lab.gateway().sshConnections;

      const { steps } = await stack.previewJson();
      const changed = steps.filter(({ op }) => op !== "same");
      expect(changed.map(({ op, urn }) => `${op} ${urn.split("::").at(-1)}`)).toEqual([
        "update web",
        "update web-edge-1",
      ]);
      const [component, rules] = changed;
      const { backends: old, ...oldRest } = component!.oldState!.inputs as Record<string, unknown>;
      const { backends, ...rest } = component!.newState!.inputs as Record<string, unknown>;
      expect(rest).toEqual(oldRest);
      expect(old).toEqual({
        "10.0.0.3": expect.stringMatching(/^weight 3, share 0.75, mark 0x[0-9a-f]+$/),
        "10.0.0.4": expect.stringMatching(/^weight 1, share 0.25, mark 0x[0-9a-f]+$/),
      });
      expect(backends).toEqual({
        "10.0.0.3": expect.stringMatching(/^weight 1, share 0.50, mark 0x[0-9a-f]+$/),
        "10.0.0.4": expect.stringMatching(/^weight 1, share 0.50, mark 0x[0-9a-f]+$/),
      });
      expect(rules!.oldState!.inputs!.stdin).not.toBe(rules!.newState!.inputs!.stdin);

      const { stdout } = await stack.preview({ diff: true });
      expect(stdout).toMatch(
        /10\.0\.0\.3\s*: "weight 3, share 0\.75, mark .*" => "weight 1, share 0\.50, mark .*"/,
      );
      expect(stdout).toMatch(
        /10\.0\.0\.4\s*: "weight 1, share 0\.25, mark .*" => "weight 1, share 0\.50, mark .*"/,
      );
      if (dataPlane === "nftables") {
        expect(stdout).toMatch(/^ *- .*numgen random mod 4 map/m);
        expect(stdout).toMatch(/^ *\+ .*numgen random mod 2 map/m);
      } else {
        expect(stdout).toMatch(/^ *- .*--probability 0\.75000000000/m);
        expect(stdout).toMatch(/^ *\+ .*--probability 0\.50000000000/m);
      }

      const { stdout: left } = await stack.run(["destroy", "--preview-only", "--stack", stack.name]);
      expect(left).toMatch(/web\b.* delete/);
      expect(lab.gateway().sshConnections).toBe(dials);
      expect(await everything(lab.gateway())).toBe(now);
      return {
        done: "previews of another weight, as JSON and as a diff, and of a destroy",
        held: "no connection was made to the gateway; rules, files and forwarding as before; each changed rule and share is shown",
        saw: /10\.0\.0\.3\s*: "weight 3.*/.exec(stdout)?.[0] ?? expect.fail(stdout),
      };
    },
    240_000,
  );

  it("loses no connection while the weight changes", async () => {
    await underTraffic(lab, () => stack.up());
    expect(await stack.outputs()).toEqual({ shares: { "10.0.0.3": 0.5, "10.0.0.4": 0.5 } });
    const seen = await counts(lab, 600);
    expect(
      chiSquareTest(
        BACKENDS.map((address) => seen[address] ?? 0),
        [1, 1],
      ),
    ).toBeGreaterThan(1e-6);
  });

  it("makes no connection where nothing changed", async () => {
    const now = await everything(lab.gateway());
    const dials = lab.gateway().sshConnections;
    const { stdout } = await stack.up();
    expect(stdout).toMatch(/4 unchanged/);
    expect(stdout).not.toMatch(/updated|created|replaced/);
    expect(lab.gateway().sshConnections).toBe(dials);
    expect(await everything(lab.gateway())).toBe(now);
  });

  it("leaves the gateway as it was", async () => {
    await stack.destroy();
    expect(await stack.resources()).toEqual([]);
    expect(await leftovers(lab.gateway())).toBe("");
    expect(await everything(lab.gateway())).toBe(before);
  });
});
