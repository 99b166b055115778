/** Programs that the kernel kills or starves, and answers of the kernel that get lost. */

import { expect } from "vitest";
import { applyArguments, TOOL } from "../host/support";
import { plainEnvironment } from "../support/lab/process";
import { type BareGateway, IPTABLES, NFTABLES, shared, VARIANTS, ZEVENET } from "./bare-gateway";
import { fault, sweep } from "./fault";

const gatewayOf = shared();

/**
 * Counts the programs that the tool starts, in /run/victims/count, and kills the one of that number with SIGKILL. Under a lock, since
 * those of a pipe start side by side.
 */
async function layMines(gateway: BareGateway): Promise<void> {
  await gateway.sh(`mkdir -p /run/victims/bin
    for program in awk sed grep cat sort cut diff head tail tr wc cmp cp mv rm mkdir date sha256sum sync df du unshare \\
      nft iptables iptables-restore iptables-save ip6tables ip6tables-restore ip6tables-save; do
      real=$(command -v $program) || continue
      cat >/run/victims/bin/$program <<END
#!/bin/sh
exec 8>>/run/victims/lock; flock 8
read -r n </run/victims/count; n=\\$((n + 1)); echo \\$n >/run/victims/count
exec 8>&-
read -r at </run/victims/at
[ \\$n != \\$at ] || { echo $program >/run/victims/name; kill -9 \\$\\$; }
exec $real "\\$@"
END
    done
    chmod 755 /run/victims/bin/*`);
}

/** An apply in which the n-th program dies. @returns the code, and how many programs there were */
async function strike(gateway: BareGateway, n: number) {
  await gateway.sh(`cd /run/victims; echo 0 >count; echo ${n} >at; rm -f name`);
  const env = { ...plainEnvironment, PATH: `/run/victims/bin:${plainEnvironment.PATH}` };
  const outcome = await gateway.apply("new", { env });
  const [count, name] = (await gateway.sh("cd /run/victims; cat count; cat name 2>/dev/null || :")).split(
    "\n",
  );
  return { outcome, count: Number(count), name };
}

for (const variant of VARIANTS) {
  fault(
    17,
    `killed by the kernel, ${variant.label}`,
    async () => {
      const gateway = await gatewayOf(variant);
      await layMines(gateway);
      const { count } = await strike(gateway, 0);
      expect(count).toBeGreaterThan(15);
      await gateway.apply("old");
      let saw = "";
      const step = sweep(Math.ceil(count / 8), 1);
      const seen = { applied: 0, refused: 0 };
      for (let n = 1; n <= count; n += step) {
        const { outcome, name } = await strike(gateway, n);
        const context = `${name}, number ${n}: ${outcome.code} ${outcome.stderr}`;
        expect(await gateway.disk(), context).toBe(outcome.code === 0 ? "new" : "old");
        expect(await gateway.kernel(), context).toBe(outcome.code === 0 ? "new" : "old");
        seen[outcome.code === 0 ? "applied" : "refused"]++;
        if (outcome.code !== 0) saw = outcome.stderr.trim();
        expect(await gateway.apply("old"), context).toMatchObject({ code: 0, stderr: "" });
        await gateway.expectHolds("old");
      }
      await gateway.expectConverges();
      return {
        done: `of the ${count} programs that an apply starts, each ${step === 1 ? "" : `${step}th `}killed in its turn, as the kernel does where memory is short`,
        held: `${seen.refused} times refused with the old set in force, ${seen.applied} times applied all the same, always whole; the next apply converges`,
        saw,
      };
    },
    120_000,
  );

  fault(17, `starved, ${variant.label}`, async () => {
    const gateway = await gatewayOf(variant);
    let saw = "";
    let refused = 0;
    let stuck = 0;
    const step = sweep(2048, 256);
    let kilobytes = 1024;
    for (; kilobytes <= 65_536; kilobytes += step) {
      const set = gateway.sets.new;
      const outcome = await gateway.machine.running.run(
        ["sh", "-c", `ulimit -v ${kilobytes}; exec dash ${TOOL} "$@"`, "sh", ...applyArguments("web", set)],
        { input: set },
      );
      if (outcome.code === 0) break;
      saw = outcome.stderr.trim();
      refused++;
      // Who has no memory to change may have none to go back: that is said, and restore does it later.
      if (saw.includes("ATTENTION")) {
        stuck++;
        expect(saw).toContain("run: netfilter-lb restore");
        expect(await gateway.machine.tool(["restore"])).toMatchObject({ code: 0, stderr: "" });
      }
      const context = `${kilobytes}: ${outcome.code} ${outcome.stderr}`;
      expect(`${await gateway.kernel(context)} ${await gateway.disk()}`, context).toBe("old old");
    }
    expect(refused).toBeGreaterThan(0);
    await gateway.expectHolds("new");
    await gateway.expectConverges();
    return {
      done: `applies with an address space of 1 MiB and more, in steps of ${step} KiB`,
      held: `${refused} times refused with the old set in force, whole, ${stuck} of them only after "netfilter-lb restore", as the message says; applied with ${kilobytes} KiB`,
      saw,
    };
  });
}

for (const variant of [NFTABLES, IPTABLES, ZEVENET])
  fault(16, variant.label, async () => {
    const gateway = await gatewayOf(variant);
    const program = variant === NFTABLES ? "nft" : "iptables-restore";
    const commit =
      variant === NFTABLES ? '" $* " in *" -f "*' : '" $* " in *" --test "*) exec REAL "$@" ;; *';
    const lost = [1, 2, 3];
    let saw = "";
    for (const turn of lost) {
      await gateway.sh("echo 0 >/run/commits");
      await gateway.interpose(
        program,
        `case ${commit})
  REAL "$@" || exit
  read -r n </run/commits; echo $((n + 1)) >/run/commits
  [ $((n + 1)) != ${turn} ] || { echo "netlink: Error: Could not process rule: No buffer space available" >&2; exit 1; } ;;
*) exec REAL "$@" ;;
esac`,
      );
      const outcome = await gateway.apply("new");
      await gateway.expose(program);
      expect(outcome, outcome.stderr).toMatchObject({ code: 0 });
      saw = outcome.stdout.trim();
      await gateway.expectHolds("new");
      await gateway.apply("old");
    }
    // And a list that breaks off: nothing is known, so nothing is done.
    const list = variant === NFTABLES ? "nft" : "iptables-save";
    await gateway.interpose(
      list,
      `case " $* " in *" -f "*) exec REAL "$@" ;; esac
REAL "$@" | head -n 3; echo "netlink: Error: cache initialization failed: No buffer space available" >&2; exit 1`,
    );
    const outcomes = [await gateway.machine.tool(["verify"]), await gateway.machine.tool(["restore"])];
    await gateway.expose(list);
    for (const outcome of outcomes)
      expect(await gateway.expectRefused(outcome, 1)).toContain("could not be listed");
    await gateway.expectConverges();
    return {
      done: `${program} says "No buffer space available" though the kernel has committed, at the ${lost.join("st, ")}rd commit; then the kernel's list breaks off`,
      held: "read back and applied, whole; where the list broke off nothing was changed",
      saw: `${saw} — and: ${outcomes[0]?.stderr.trim()}`,
    };
  });
