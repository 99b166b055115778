/** No room on the disk, or nothing that may be written. */

import { expect } from "vitest";
import type { Outcome } from "../support/lab/process";
import { NFTABLES, shared, VARIANTS } from "./bare-gateway";
import { fault, sweep } from "./fault";

/** With rule sets of some pages each. */
const gatewayOf = shared({ backends: 120 });

for (const variant of VARIANTS) {
  fault(8, `/etc, ${variant.label}`, async () => {
    const gateway = await gatewayOf(variant);
    const pages = sweep(3, 12);
    let saw = "";
    let refused = 0;
    for (let free = 0; free < pages; free++) {
      await gateway.sh(`
        cp -a /etc/netfilter-lb /etc/netfilter-lb.copy
        mount -t tmpfs -o size=1m,mode=700 small /etc/netfilter-lb
        mv /etc/netfilter-lb.copy/* /etc/netfilter-lb; rmdir /etc/netfilter-lb.copy
        dd if=/dev/zero of=/etc/netfilter-lb/filler bs=4k 2>/dev/null
        truncate -c -s -${4 * free}k /etc/netfilter-lb/filler`);
      const outcome = await gateway.apply("new");
      if (outcome.code === 0) await gateway.expectHolds("new");
      else {
        saw = await gateway.expectRefused(outcome, 1);
        expect(saw).toMatch(/cannot write .*, nothing was changed: is \/etc writable, and is there room\?$/m);
        refused++;
      }
      await gateway.sh("umount /etc/netfilter-lb");
    }
    expect(refused).toBeGreaterThan(0);
    await gateway.expectConverges();
    return {
      done: `the disk under /etc full, with ${pages} different remainders of 0 to ${4 * (pages - 1)} KiB`,
      held: `${refused} times refused before anything was touched, ${pages - refused} times applied whole`,
      saw,
    };
  });

  fault(8, `/run, ${variant.label}`, async () => {
    const gateway = await gatewayOf(variant);
    let saw = "";
    const step = sweep(64, 4);
    let [kilobytes, refused] = [0, -1];
    let outcome: Outcome;
    do {
      kilobytes += step;
      refused++;
      outcome = await gateway.withRun(kilobytes, () => gateway.apply("new"));
      if (outcome.code === 0) break;
      saw = await gateway.expectRefused(outcome, 1);
      expect(saw.split("\n").at(-1)).toMatch(/nothing was changed: (is there|make \d+ KiB of) room/);
    } while (kilobytes < 2048);
    expect(refused).toBeGreaterThan(0);
    await gateway.expectHolds("new");
    await gateway.expectConverges();

    // Where a change may begin, there is room to go back.
    const loop = gateway.plane === "nftables" ? "goto web.farm" : "-j NFLB-web";
    const bad = gateway.newWith(loop);
    const failed = await gateway.withRun(kilobytes, () => gateway.machine.apply("web", bad));
    expect(await gateway.expectRefused(failed, 1)).toContain(
      "the last good set stays in force; the kernel said",
    );
    return {
      done: `applies with ${refused + 1} sizes of /run, from ${step} KiB in steps of ${step}; with the last of them also a set that the kernel refuses`,
      held: `${refused} times refused before anything was touched, applied whole with ${kilobytes} KiB, and there the way back too`,
      saw,
    };
  });

  fault(9, `/etc, ${variant.label}`, async () => {
    const gateway = await gatewayOf(variant);
    await gateway.sh("mount --bind /etc /etc && mount -o remount,ro,bind /etc");
    const saw = await gateway.expectRefused(await gateway.apply("new"), 1);
    expect(saw).toMatch(/cannot write .*, nothing was changed: is \/etc writable, and is there room\?$/m);

    // A disk with an error is often made read-only in the middle.
    await gateway.sh("mount -o remount,rw,bind /etc");
    const program = variant === NFTABLES ? "nft" : "iptables-restore";
    await gateway.interpose(program, 'REAL "$@" || exit; mount -o remount,ro,bind /etc');
    const later = await gateway.apply("new");
    expect(later).toMatchObject({ code: 1, stdout: "" });
    expect(later.stderr).toContain("the last good set is in force again: is /etc writable?");
    expect(await gateway.kernel()).toBe("old");
    expect(await gateway.disk()).toBe("old");
    await gateway.sh("umount /etc");
    await gateway.expose(program);
    await gateway.expectConverges();
    return {
      done: "/etc read-only from the start, and from the moment on when the kernel had the new set",
      held: "the old set both times, whole, in the kernel and on disk",
      saw: `${saw} — and: ${later.stderr.trim()}`,
    };
  });
}

fault(9, "/run", async () => {
  const gateway = await gatewayOf(NFTABLES);
  await gateway.sh("mount --bind /run /run && mount -o remount,ro,bind /run");
  const outcome = await gateway.apply("new");
  await gateway.sh("umount /run");
  const saw = await gateway.expectRefused(outcome, 1);
  expect(saw).toContain("this needs root and a writable /run");
  await gateway.expectConverges();
  return { done: "/run read-only", held: "nothing was touched", saw };
});
