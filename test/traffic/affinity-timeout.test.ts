import { afterAll, beforeAll, expect, it } from "vitest";
import { ALL_BUT_ZEVENET, movedBetween, type Plane, startPlanes } from "./plane";

/** How long clients are remembered. All planes at once, since it is the clock that takes the time. */

const TIMEOUT = 3;

let planes: Plane[];
let close: () => Promise<void>;

beforeAll(async () => {
  ({ planes, close } = await startPlanes({
    planes: ALL_BUT_ZEVENET,
    backends: 8,
    serve: { tcp: [80] },
  }));
});
afterAll(() => close?.());

it("from a client's last new connection on, and no longer", async () => {
  await Promise.all(
    planes.map(async (plane) => {
      await plane.apply({ affinity: { by: "sourceIp", timeoutSeconds: TIMEOUT } });
      const clients = plane.clients(40);
      const served = await plane.served(clients);
      // Twice as long as the time-out, but never so long without a connection.
      const began = performance.now();
      for (let last = began; performance.now() - began < 2 * TIMEOUT * 1000; ) {
        await sleep(TIMEOUT * 300);
        const moved = movedBetween(served, await plane.served(clients));
        const now = performance.now();
        expect(now - last, "the machine was too slow for this test").toBeLessThan(TIMEOUT * 1000);
        last = now;
        expect(moved, plane.label).toEqual([]);
      }
      // Now nobody is remembered: that 40 clients draw one of 8 as before has a chance of 8^-40.
      await sleep(TIMEOUT * 1000 + 1500);
      expect(movedBetween(served, await plane.served(clients)).length, plane.label).toBeGreaterThan(0);
    }),
  );
});

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
