/**
 * The main job, end to end, with nothing simulated but the machines: `pulumi preview`, `up`, traffic, a change under load,
 * `destroy`, against a gateway that is a network namespace with its own sshd and its own netfilter.
 *
 *     npm run demo                # an nftables gateway
 *     npm run demo -- iptables    # an iptables gateway
 */
import { join } from "node:path";
import { Engine } from "../support/engine/engine";
import type { PulumiStack } from "../support/engine/stack";
import { type Gateway, Lab } from "../support/lab";
import { chart } from "./chart";

const ROOT = join(__dirname, "../..");
const VIP = "203.0.113.10";
const CONNECTIONS = 3000;

/** What somebody else has on the gateway, and what must come out as it went in. */
const FOREIGN = [
  "nft 'table inet office { chain input { type filter hook input priority 10; policy accept; tcp dport 23 drop; }; }'",
  "iptables -t nat -A POSTROUTING -s 192.168.77.0/24 -j MASQUERADE",
  "iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
  "iptables -A INPUT -p tcp --dport 23 -j DROP",
];
const SNAPSHOT =
  "nft list table inet office; for t in nat mangle filter; do iptables -t $t -S; done; sysctl net.ipv4.ip_forward";

let step = 0;
const failures: string[] = [];

async function main(dataPlane: string): Promise<void> {
  heading(`A gateway (${dataPlane}), two backends, a client: network namespaces of their own`);
  await using lab = await Lab.create({ backends: ["10.0.0.3", "10.0.0.4"] });
  const gateway = lab.gateway("edge-1");
  for (const rule of FOREIGN) await gateway.sh(rule);
  const before = await gateway.sh(SNAPSHOT);
  await lab.backends.serve({ tcp: [80, 443] });
  say(
    `sshd at ${gateway.connection.host}:${gateway.connection.port}; somebody else's rules are there already`,
  );

  const engine = await Engine.open();
  try {
    say(engine.description);
    if (engine.provider === "stand-in")
      say(
        "(the official command provider cannot be downloaded here; the tests' own implementation of its contract stands in)",
      );
    const { host, port, privateKey, hostKey } = gateway.connection;
    const stack = await engine.project(ROOT, {
      config: {
        "edge-1:host": host,
        "edge-1:port": port,
        "edge-1:hostKey": hostKey,
        "edge-1:dataPlane": dataPlane,
      },
      secrets: { "edge-1:privateKey": privateKey },
    });

    heading("pulumi preview");
    print((await stack.preview()).stdout);

    heading("pulumi up");
    print((await stack.up()).stdout);

    heading(`${CONNECTIONS} connections to ${VIP}:80`);
    await measure(lab, stack);

    heading("A change: the first backend's weight goes from 3 to 1. pulumi preview --diff");
    await stack.configure({ weight: 1 });
    print((await stack.preview({ diff: true })).stdout);

    heading("pulumi up, while connections are made all the time");
    const steady = await lab.client.steady({ to: VIP, port: 80, concurrency: 8 });
    await stack.up();
    const { count, lost } = await steady.stop();
    check(`${count} connections during the change, ${lost.length} lost`, count > 0 && lost.length === 0);

    heading(`${CONNECTIONS} connections again`);
    await measure(lab, stack);

    heading("pulumi up once more");
    const logins = gateway.sshConnections;
    const again = await stack.up();
    check(`unchanged, ${gateway.sshConnections - logins} SSH connections`, gateway.sshConnections === logins);
    print(
      again.stdout
        .split("\n")
        .filter((line) => /unchanged/.test(line))
        .join("\n"),
    );

    heading("pulumi destroy");
    print((await stack.destroy()).stdout);
    await checkLeft(gateway, before);
  } finally {
    await engine.close();
  }
}

async function measure(lab: Lab, stack: PulumiStack): Promise<void> {
  const { shares } = await stack.outputs<{ shares: Record<string, number> }>();
  const { counts, lost } = await lab.client.connect({ to: VIP, port: 80, count: CONNECTIONS });
  for (const line of chart(
    Object.entries(shares).map(([backend, expected]) => ({
      backend,
      expected,
      connections: counts[backend] ?? 0,
    })),
  ))
    say(line);
  check(`${lost} connections without a backend`, lost === 0);
  for (const [backend, share] of Object.entries(shares)) {
    // Five standard deviations of a binomial: a right share is outside once in 1.7 million runs.
    const allowed = 5 * Math.sqrt(CONNECTIONS * share * (1 - share));
    const off = Math.abs((counts[backend] ?? 0) - CONNECTIONS * share);
    if (off > allowed) failures.push(`${backend} is ${off} connections off its share`);
  }
}

async function checkLeft(gateway: Gateway, before: string): Promise<void> {
  const after = await gateway.sh(SNAPSHOT);
  check("the gateway's other rules and ip_forward are byte for byte as before", after === before);
  const left = await gateway.sh(
    "find /etc/netfilter-lb /usr/local/sbin /etc/sysctl.d -name '*netfilter-lb*' 2>/dev/null; nft list ruleset | grep -i 'netfilter_lb\\|NFLB' || :",
  );
  check("nothing of the farm is left there", left.trim() === "");
}

function heading(text: string): void {
  step += 1;
  console.log(`\n\x1b[1m${step}. ${text}\x1b[0m`);
}

function say(text: string): void {
  console.log(`   ${text}`);
}

function print(text: string): void {
  for (const line of text.trim().split("\n")) say(line);
}

function check(text: string, holds: boolean): void {
  say(`${holds ? "✔" : "✘"} ${text}`);
  if (!holds) failures.push(text);
}

const dataPlane = process.argv[2] ?? "nftables";
main(dataPlane).then(
  () => {
    console.log(failures.length === 0 ? "\nAll as promised." : `\nNot as promised:\n${failures.join("\n")}`);
    process.exitCode = failures.length === 0 ? 0 : 1;
  },
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  },
);
