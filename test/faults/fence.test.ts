/** An account that may run the tool by sudo and nothing else: what it can do to the rules and files of others. */

import { afterAll, expect } from "vitest";
import { compile, type FarmSpec } from "../../src/core";
import { installCommand } from "../../src/host/commands";
import { toolText } from "../../src/host/tool";
import { ruleSet } from "../host/fixtures";
import { applyArguments, OWNER } from "../host/support";
import { EVERYTHING } from "../spec/farms";
import type { Outcome } from "../support/lab/process";
import { randomNumbers } from "../traffic/random-farm";
import { BareGateway, NFTABLES, VARIANTS, type Variant } from "./bare-gateway";
import { fault, sweep } from "./fault";
import { foreignRules } from "./foreign";

const SEED = Number(process.env.SEED ?? 1);

const gateways: BareGateway[] = [];
afterAll(() => Promise.all(gateways.map((gateway) => gateway.end())));

const RICH: FarmSpec = {
  ...EVERYTHING,
  listeners: [...EVERYTHING.listeners, { address: "203.0.113.10", protocol: "tcp", ports: "8000-8080" }],
};

/** What somebody would write into a rule set who wants more than a farm. */
const WORDS = [
  ...[
    "flush ruleset",
    "}",
    "{",
    ";",
    "\n",
    "accept",
    "policy drop;",
    "delete table inet theirs",
    "@services",
  ],
  ...["table inet theirs {", "table ip netfilter_lb {", "add rule inet theirs forward accept", "@guarded"],
  ...[
    'include "/etc/passwd"',
    '"',
    "'",
    "#",
    "\\",
    "$(id)",
    "`id`",
    "\t",
    "\r",
    "\0",
    "é",
    "-",
    "!",
    "0",
    "65536",
  ],
  ...[
    "type filter hook input priority 0;",
    "redirect to :22",
    "queue",
    "meta mark set 1",
    "notrack",
    "web.farm",
  ],
  ...["4294967296", "-1", "203.0.113.99", "0.0.0.0", "::", "tcp . 22", "all", "theirs", "blocked", "THEIRS"],
  ...["-j ACCEPT", "-j DROP", "-j THEIRS", "-A INPUT", "-F INPUT", "-X THEIRS", "-P FORWARD DROP", "COMMIT"],
  ...[":INPUT DROP [0:0]", "*filter", "NFLB-INPUT", "NFLB-web", "-X NFLB-web", "-d 0.0.0.0/0", "--dport 22"],
  ...["destroy theirs", "add theirs 192.0.2.1", "create NFLB-x hash:ip", "swap NFLB-web.allow theirs"],
  ...[
    "# service 203.0.113.99 tcp 22",
    "# service 0.0.0.0 all -",
    "# short-name INPUT",
    "-m comment --comment x",
  ],
];

/** The set with one or two lines or words of it exchanged, doubled, removed, put in, or one character another. */
function mutate(set: string, random: () => number): string {
  const below = (count: number) => Math.floor(random() * count);
  const word = () => WORDS[below(WORDS.length)] ?? "";
  const lines = set.split("\n");
  for (let edits = 1 + below(2); edits > 0; edits--) {
    const at = below(lines.length);
    const line = lines[at] ?? "";
    const other = below(lines.length);
    const parts = line.split(" ");
    const part = below(parts.length);
    const text = parts[part] ?? "";
    const cut = below(text.length);
    switch (below(7)) {
      case 0:
        lines.splice(at, 1);
        break;
      case 1:
        lines.splice(at, 0, lines[other] ?? "");
        break;
      case 2:
        [lines[at], lines[other]] = [lines[other] ?? "", line];
        break;
      case 3:
        lines.splice(at, 0, word());
        break;
      case 4:
        parts[part] = word();
        lines[at] = parts.join(" ");
        break;
      case 5:
        parts.splice(part, 0, word());
        lines[at] = parts.join(" ");
        break;
      default:
        parts[part] = text.slice(0, cut) + String.fromCharCode(32 + below(95)) + text.slice(cut + 1);
        lines[at] = parts.join(" ");
    }
  }
  return lines.join("\n");
}

/** A gateway with such an account. */
async function start(variant: Variant): Promise<BareGateway> {
  const gateway = await BareGateway.start(variant);
  gateways.push(gateway);
  await gateway.machine.sh("cat >/usr/local/sbin/netfilter-lb; chmod 755 /usr/local/sbin/netfilter-lb", {
    input: toolText(),
  });
  await gateway.sh(`useradd --no-create-home --home-dir / deploy; mkdir -p /etc/sudoers.d
    echo 'deploy ALL=(root) NOPASSWD: /usr/local/sbin/netfilter-lb' >/etc/sudoers.d/deploy; chmod 440 /etc/sudoers.d/deploy
    ipset create theirs hash:ip; ipset add theirs 192.0.2.66; touch /run/marker`);
  return gateway;
}

function applyByDeploy(gateway: BareGateway, set: string): Promise<Outcome> {
  const tool = ["runuser", "-u", "deploy", "--", "sudo", "-n", "/usr/local/sbin/netfilter-lb"];
  return gateway.machine.running.run([...tool, ...applyArguments("web", set)], { input: set });
}

/** Rules of others, their sets, and files that were written outside the tool's own folders. */
async function others(gateway: BareGateway): Promise<string> {
  return [
    await foreignRules(gateway.machine),
    await gateway.sh(`ipset save | grep -v NFLB-; cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
      find /etc /run /usr/local -newer /run/marker -type f ! -path '/etc/netfilter-lb/*' ! -name netfilter-lb.lock ! -path '/run/sudo/*'`),
  ].join("\n");
}

for (const variant of VARIANTS)
  fault(
    56,
    variant.label,
    async () => {
      const gateway = await start(variant);
      const [dataPlane, layout] = variant.plane.split(" ");
      const good =
        layout === "zevenet"
          ? ruleSet({ plane: variant.plane })
          : compile("web", RICH, { dataPlane } as { dataPlane: "nftables" | "iptables" }).ruleSet;
      const before = await others(gateway);
      const random = randomNumbers(SEED);
      const rounds = sweep(20, 400);
      const seen = { refused: 0, kernel: 0, taken: 0 };
      let saw = "";
      for (let round = 0; round < rounds; round++) {
        const set = mutate(good, random);
        const { code, stdout, stderr } = await applyByDeploy(gateway, set);
        expect(stdout + stderr, set).not.toMatch(/(?![\n\t])\p{Cc}/u);
        if (code === 0) {
          seen.taken++;
          const { stdout: found } = await gateway.machine.tool(["verify"]);
          // One without its last line break, say, is not stored byte for byte; the kernel must hold what is stored.
          expect(found, set).not.toMatch(/^[-+] \S+ ip6? /m);
          expect(await others(gateway), set).toBe(before);
          expect(await gateway.apply("old")).toMatchObject({ code: 0, stderr: "" });
          await gateway.expectHolds("old");
          continue;
        }
        expect([1, 3, 4, 6], `${stderr}${set}`).toContain(code);
        seen[code === 4 ? "refused" : "kernel"]++;
        if (code === 4) saw = stderr.trim();
        if (code !== 4 || round % 10 === 9) await gateway.expectHolds("old");
      }
      await gateway.expectInStep("old");
      expect(await others(gateway)).toBe(before);
      expect(seen.refused).toBeGreaterThan(0);
      return {
        done: `an account that may run the tool by sudo, and nothing else, sends ${rounds} rule sets that were altered by chance with what an attacker would write, each with its right length and hash (seed ${SEED})`,
        held: `${seen.refused} refused unread by the kernel, ${seen.kernel} refused by it with the old set left whole, ${seen.taken} taken, which changed the farm's own rules and nothing else; rules, sets and files of others byte for byte as before`,
        saw,
      };
    },
    120_000,
  );

fault(57, "", async () => {
  const gateway = await BareGateway.start(NFTABLES);
  gateways.push(gateway);
  const { machine } = gateway;
  await machine.sh("echo precious >/etc/precious; mkdir /etc/folder");
  const links = [
    ...["web.pending", ".web.pending.new", "web.rules", ".web.rules.new"].map(
      (name) => `/etc/netfilter-lb/farms/${name}`,
    ),
    ...["shop,prod,edge-1", ".shop,prod,edge-1.new"].map((name) => `/etc/netfilter-lb/stacks/${name}`),
    ...["/etc/netfilter-lb/sysctl.old", "/etc/netfilter-lb/.sysctl.old.new"],
    ...["/etc/sysctl.d/90-netfilter-lb.conf", "/etc/sysctl.d/.90-netfilter-lb.conf.new"],
    ...["netfilter-lb.service", ".netfilter-lb.service.new"].map((name) => `/etc/systemd/system/${name}`),
  ];
  for (const target of ["/etc/precious", "/etc/folder", "/etc/nowhere"]) {
    // A stored farm that is a folder cannot be read, and then nothing is changed.
    const places = links.filter((link) => target !== "/etc/folder" || !link.endsWith("/web.rules"));
    await machine.sh(places.map((link) => `ln -sfn ${target} ${link}`).join("\n"));
    expect(await machine.tool(["prepare", "--owner", OWNER])).toMatchObject({ code: 0, stderr: "" });
    expect(await gateway.apply("new")).toMatchObject({ code: 0, stderr: "" });
    expect(await gateway.apply("old")).toMatchObject({ code: 0, stderr: "" });
    expect(await machine.sh(`find ${links.join(" ")} -type l 2>/dev/null || :`)).toBe("");
    await gateway.expectInStep("old");
  }

  const said: string[] = [];
  for (const place of ["/etc/netfilter-lb", "/etc/netfilter-lb/farms", "/run/netfilter-lb.lock"]) {
    await machine.sh(
      `mv ${place} /etc/elsewhere; ln -s ${place.endsWith("lock") ? "/etc/precious" : "/etc/elsewhere"} ${place}`,
    );
    const { code, stderr } = await gateway.apply("new");
    expect([1, 5]).toContain(code);
    said.push(stderr.trim());
    await machine.sh(`rm ${place}; mv /etc/elsewhere ${place}`);
    await gateway.expectInStep("old");
  }

  const owner = { project: "shop", stack: "prod", gateway: "edge-1" };
  const install = () =>
    machine.running.run(["sh", "-c", installCommand(owner, { sudo: false, dataPlane: "nftables" })], {
      input: toolText(),
    });
  await machine.sh("ln -sfn /etc/precious /usr/local/sbin/netfilter-lb");
  expect(await install()).toMatchObject({ code: 0 });
  expect(await machine.sh("cat /usr/local/sbin/netfilter-lb")).toBe(toolText());
  await machine.sh("ln -sfn /etc/folder /usr/local/sbin/netfilter-lb");
  const folder = await install();
  expect(folder).toMatchObject({ code: 1, stdout: "" });
  said.push(folder.stderr.trim());
  expect(
    await machine.sh(
      "ls -A /usr/local/sbin; cat /etc/precious; ls -A /etc/folder; ls /etc/nowhere 2>&1 || :",
    ),
  ).toBe("netfilter-lb\nprecious\nls: cannot access '/etc/nowhere': No such file or directory\n");
  await gateway.expectInStep("old");
  return {
    done: `symbolic links, to a file, to a folder and to nowhere, in each of the ${links.length} places where the tool writes; then in place of its folders, of the lock, and of the tool itself`,
    held: "what they point to stays as it is; links to files give way, links in place of a folder or of the lock are refused, with the old set whole",
    saw: said.join(" … "),
  };
});
