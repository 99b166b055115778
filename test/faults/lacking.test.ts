/** A gateway whose programs or kernel lack something, or whose tables another program holds. */

import { expect } from "vitest";
import { compile, type FarmSpec } from "../../src/core";
import { ruleSet } from "../host/fixtures";
import { plainEnvironment } from "../support/lab/process";
import {
  type BareGateway,
  IPTABLES,
  LEGACY,
  NFTABLES,
  shared,
  VARIANTS,
  type Variant,
  ZEVENET,
} from "./bare-gateway";
import { fault } from "./fault";

const gatewayOf = shared();

const programOf = ({ plane }: Variant) => (plane === "nftables" ? "nft" : "iptables-restore");

/** A change, and a farm that would be the first of its kind: both refused. @returns the message of the change */
async function refused(gateway: BareGateway, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const first = ruleSet({ name: "db", plane: gateway.plane, services: ["203.0.113.11 tcp 5432-5440"] });
  const options = { env: { ...plainEnvironment, ...env } };
  const before = await gateway.expectRefused(await gateway.machine.apply("db", first, options), 6);
  expect(before).toContain("farm db");
  return await gateway.expectRefused(await gateway.apply("new", options), 6);
}

fault(10, "iptables-legacy", async () => {
  const gateway = await gatewayOf(LEGACY);
  const hold = (seconds: number) =>
    gateway.sh(`rm -f /run/holder
      sh -c 'flock 9; echo $$ >/run/holder; exec sleep ${seconds}' 9>/run/xtables.lock >/dev/null 2>&1 &
      until [ -s /run/holder ]; do sleep 0.05; done`);
  await hold(2);
  expect(await gateway.apply("new")).toEqual({ code: 0, stdout: "applied: farm web\n", stderr: "" });
  await gateway.expectHolds("new");
  await gateway.apply("old");
  await hold(30);
  const outcome = await gateway.apply("new");
  await gateway.sh("kill $(cat /run/holder)");
  const saw = await gateway.expectRefused(outcome, 5);
  expect(saw).toContain("another program holds the xtables lock");
  await gateway.expectConverges();
  return {
    done: "another program held the xtables lock, for 2 s, and for longer than the 10 s that are waited for",
    held: "applied whole after 2 s; given up after 10 s, with the old set in force",
    saw,
  };
});

for (const variant of [IPTABLES, LEGACY, ZEVENET])
  fault(11, variant.label, async () => {
    const gateway = await gatewayOf(variant);
    await gateway.interpose(
      "iptables-restore",
      `case " $* " in *" --wait "*)
  echo "iptables-restore: unrecognized option '--wait'" >&2
  echo "Try \\\`iptables-restore -h' or 'iptables-restore --help' for more information." >&2
  exit 1 ;;
esac
exec REAL "$@"`,
    );
    const saw = await refused(gateway);
    expect(saw).toContain("iptables is too old here, install version 1.6.2 or a newer one");
    await gateway.expose("iptables-restore");
    await gateway.expectConverges();
    return {
      done: "iptables-restore refuses --wait in the words of version 1.6.1; a change and a first farm",
      held: "the old set, whole, and nothing of the first farm",
      saw,
    };
  });

const OLD_NFT = {
  "nft 0.9.0": `grep -q 'th dport' "$2" && {
  echo "/dev/stdin:1:40-41: Error: syntax error, unexpected th" >&2; exit 1; }`,
  "Linux before 5.6": `grep -q ranges "$2" && {
  echo "Error: Could not process rule: Operation not supported" >&2
  echo "add element ip netfilter_lb ranges { 203.0.113.11 . tcp . 5432-5440 : goto db }" >&2; exit 1; }`,
};

for (const [what, lines] of Object.entries(OLD_NFT))
  fault(12, what, async () => {
    const gateway = await gatewayOf(NFTABLES);
    // The words of the base are only sent where it is not there yet.
    await gateway.machine.remove("web");
    const before = await gateway.machine.rules();
    await gateway.interpose("nft", `case $1 in -f) ${lines} ;; esac\nexec REAL "$@"`);
    const outcome = await gateway.apply("new");
    expect(outcome).toMatchObject({ code: 6, stdout: "" });
    expect(await gateway.machine.rules()).toBe(before);
    expect(await gateway.sh("ls -A /etc/netfilter-lb/farms")).toBe("");
    expect(outcome.stderr).toMatch(/install version 1\.0\.6 or a newer one|install a newer package/);
    await gateway.expose("nft");
    await gateway.expectConverges();
    return {
      done: `nft refuses what ${what} does not have, in its words; the gateway's first farm`,
      held: "no rule came, and everything else stayed as it was",
      saw: outcome.stderr.trim(),
    };
  });

fault(12, "this kernel, without a helper", async () => {
  const gateway = await gatewayOf(NFTABLES);
  const helper = '\tct helper web.sip.tcp { type "sane" protocol udp; }\n';
  const set = gateway.sets.new.replace(
    "netfilter_lb {\n",
    `netfilter_lb {\n${helper.replace("sip.tcp", "sane.udp")}`,
  );
  const saw = await gateway.expectRefused(await gateway.machine.apply("web", set), 6);
  expect(saw).toContain("kernel or tools lack something");
  await gateway.expectConverges();
  return {
    done: "a set with a helper for connections that this machine's kernel does not have",
    held: "the old set, whole",
    saw,
  };
});

for (const variant of [IPTABLES, LEGACY, ZEVENET])
  fault(13, `${variant.label}, a match of iptables`, async () => {
    const gateway = await gatewayOf(variant);
    await gateway.sh(`mkdir /run/xtables
      for folder in /usr/lib/*/xtables /usr/lib/xtables; do ln -sf $folder/*.so /run/xtables 2>/dev/null; done
      rm /run/xtables/libxt_conntrack.so`);
    const saw = await refused(gateway, { XTABLES_LIBDIR: "/run/xtables" });
    expect(saw).toMatch(/Couldn't load match .conntrack.*load the kernel module or install a newer package/);
    await gateway.sh("rm -r /run/xtables");
    await gateway.expectConverges();
    return {
      done: "iptables without its conntrack match; a change and a first farm",
      held: "the old set, whole, and nothing of the first farm",
      saw,
    };
  });

const ABSENT = [
  {
    variant: LEGACY,
    what: "the table nat",
    lines: `case "$*" in *-S*) exec REAL "$@" ;; esac
echo "iptables-restore v1.8.9 (legacy): iptables-restore: unable to initialize table 'nat'" >&2
echo "can't initialize iptables table \\\`nat': Table does not exist (do you need to insmod?)" >&2
exit 1`,
  },
  {
    variant: IPTABLES,
    what: "xt_conntrack",
    // Only the new set has what is lacking.
    lines: `cat >/run/text
case "$*" in *--test*) exec REAL "$@" </run/text ;; esac
grep -q 10.0.0.8 /run/text || exec REAL "$@" </run/text
echo "Warning: Extension conntrack revision 0 not supported, missing kernel module?" >&2
echo "iptables-restore v1.8.9 (nf_tables): " >&2
echo "line 12: RULE_APPEND failed (No such file or directory): rule in chain NFLB-FORWARD" >&2
exit 4`,
  },
];

for (const { variant, what, lines } of ABSENT)
  fault(13, `${variant.label}, ${what}`, async () => {
    const gateway = await gatewayOf(variant);
    await gateway.interpose("iptables-restore", lines);
    const outcome = await gateway.apply("new");
    await gateway.expose("iptables-restore");
    const saw = await gateway.expectRefused(outcome, 6);
    expect(saw).toContain("load the kernel module or install a newer package");
    await gateway.expectConverges();
    return {
      done: `iptables-restore fails as where the kernel lacks ${what}, in its words`,
      held: "the old set, whole",
      saw,
    };
  });

fault(13, "ip_set", async () => {
  const gateway = await gatewayOf(IPTABLES);
  await gateway.interpose("ipset", 'echo "Cannot open session to kernel." >&2; exit 1');
  const spec: FarmSpec = {
    listeners: [{ address: "203.0.113.11", protocol: "tcp", port: 80 }],
    backends: [{ address: "10.0.0.3" }, { address: "10.0.0.4" }],
    affinity: { by: "sourceIp", timeoutSeconds: 60 },
  };
  const { ruleSet } = compile("db", spec, { dataPlane: "iptables" });
  const saw = await gateway.expectRefused(await gateway.machine.apply("db", ruleSet), 6);
  expect(saw).toContain("Cannot open session to kernel");
  await gateway.expose("ipset");
  await gateway.expectConverges();
  return {
    done: "ipset fails as where the kernel has no ip_set, in its words; a farm with affinity",
    held: "the old set, whole, and nothing of the new farm",
    saw,
  };
});

for (const variant of VARIANTS)
  fault(15, variant.label, async () => {
    const gateway = await gatewayOf(variant);
    const program = programOf(variant);
    const path = (await gateway.sh(`readlink -f $(command -v ${program})`)).trim();
    await gateway.sh(`mount --bind /dev/null ${path}`);
    const outcomes = [await gateway.apply("new"), await gateway.machine.remove("web")];
    await gateway.sh(`umount ${path}`);
    for (const outcome of outcomes) await gateway.expectRefused(outcome, 6);
    const saw = outcomes[0]?.stderr.trim() ?? "";
    expect(saw).toMatch(
      new RegExp(`${program} is not installed here: install the package \\w+ and run this again$`),
    );
    await gateway.expectConverges();
    return {
      done: `${program} uninstalled behind a farm; a change and a removal`,
      held: "the old set goes on, whole",
      saw,
    };
  });
