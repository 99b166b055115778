import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "ssh2";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { type Connection, Lab } from "./lab";
import { run } from "./lab/process";

const VIP = "203.0.113.10";
const VIP6 = "2001:db8:a::10";

let lab: Lab;
let machineBefore: string;

beforeAll(async () => {
  machineBefore = machine();
  lab = await Lab.create({
    gateways: [
      "edge-1",
      { name: "edge-2", systemd: true, hide: ["nft"], iptables: "legacy", forwarding: true },
    ],
    backends: 13,
  });
  await lab.gateway("edge-1").sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
  await lab.backends.serve({ tcp: [80, 443], udp: [53] });
});

afterAll(() => lab?.close());

describe("topology", () => {
  it("routes client → gateway → backend and back, both families", async () => {
    for (const to of [lab.backends4[0]!, lab.backends6[12]!]) {
      const { answers } = await lab.client.connect({ to, port: 80 });
      expect(answers).toMatchObject([{ address: to, port: 80 }]);
    }
  });

  it("goes through the second gateway from that gateway's client addresses", async () => {
    for (const [family, to] of [[4, lab.backends4[1]!] as const, [6, lab.backends6[1]!] as const]) {
      const from = [lab.clientAddress("edge-2", family), ...lab.clientAddresses("edge-2", 300, family)];
      const before = await forwardedBy("edge-2");
      const { answers } = await lab.client.connect({ to, port: 443, fromEach: from, count: from.length });
      expect(answers.map(({ source }) => source).sort()).toEqual(from.sort());
      expect((await forwardedBy("edge-2")) - before).toBeGreaterThan(3 * from.length);
    }
  });

  it("does not forward when the gateway does not", async () => {
    await lab.gateway("edge-1").sh("sysctl -qw net.ipv4.ip_forward=0");
    const { failures } = await lab.client.connect({ to: lab.backends4[0]!, port: 80, timeout: 300 });
    await lab.gateway("edge-1").sh("sysctl -qw net.ipv4.ip_forward=1");
    expect(failures).toEqual({ timeout: 1 });
  });

  it("tells refused from lost", async () => {
    const to = lab.backends4[0]!;
    expect(await lab.client.connect({ to, port: 81, count: 3 })).toMatchObject({ refused: 3, lost: 3 });
    expect(await lab.client.connect({ to, port: 81, protocol: "udp" })).toMatchObject({ refused: 1 });
  });

  it("connects from the gateway itself", async () => {
    const { answers } = await lab.gateway("edge-1").connect({ to: lab.backends4[2]!, port: 80 });
    expect(answers).toMatchObject([{ address: lab.backends4[2], source: "192.0.2.225" }]);
  });
});

describe("a gateway", () => {
  it("has files, host name and processes of its own", async () => {
    const [one, two] = [lab.gateway("edge-1"), lab.gateway("edge-2")];
    await one.write("/usr/local/sbin/tool", "#!/bin/sh\necho hello\n", "755");
    await one.sh("mkdir -p /etc/netfilter-lb && echo 1 >/etc/sysctl.d/lab.conf");
    expect(await one.sh("tool; hostname")).toBe("hello\nedge-1\n");
    expect(
      await two.sh("ls /usr/local/sbin /etc/sysctl.d; ls /etc | grep -c netfilter-lb || true; hostname"),
    ).toBe("/etc/sysctl.d:\n\n/usr/local/sbin:\n0\nedge-2\n");
    expect((await one.sh("ls /proc | grep -c '^[0-9]'")).trim()).toMatch(/^[0-9]$/);
  });

  it("can look like a host of systemd, without nft, with either iptables", async () => {
    const [one, two] = [lab.gateway("edge-1"), lab.gateway("edge-2")];
    expect((await one.try("test -d /run/systemd/system")).code).toBe(1);
    expect((await two.try("test -d /run/systemd/system")).code).toBe(0);
    expect(await one.sh("command -v nft && iptables --version && ip6tables-save --version")).toMatch(
      /nft\n.*nf_tables.*\n.*nf_tables/,
    );
    expect((await two.try("command -v nft")).code).toBe(127);
    expect(await two.sh("iptables -t nat -S && iptables --version")).toMatch(/legacy/);
  });

  it("throws with what a failed command said", async () => {
    await expect(lab.gateway("edge-1").sh("echo no such thing >&2; exit 3")).rejects.toThrow(
      /exit 3.*\n*no such thing/s,
    );
    expect(await lab.gateway("edge-1").try("cat; exit 3", { input: "in" })).toEqual({
      code: 3,
      stdout: "in",
      stderr: "",
    });
  });

  it("cannot change the machine's own settings", async () => {
    expect((await lab.gateway("edge-1").try("sysctl -w vm.swappiness=1")).stderr).toMatch(
      /permission denied/,
    );
  });
});

describe("balancing", () => {
  const rules = (family: "ip" | "ip6", vip: string, backends: readonly string[]) => `
    table ${family} try {
      chain translate {
        type nat hook prerouting priority -100
        ${family} daddr ${vip} meta l4proto { tcp, udp } counter dnat to numgen inc mod ${backends.length} map {
          ${backends.map((address, k) => `${k} : ${address}`).join(", ")}
        }
      }
    }`;

  beforeAll(async () => {
    const gateway = lab.gateway("edge-1");
    await gateway.sh("nft -f -", { input: rules("ip", VIP, lab.backends4) });
    await gateway.sh("nft -f -", { input: rules("ip6", VIP6, lab.backends6) });
  });

  it.each([
    ["tcp", 80, VIP],
    ["tcp", 443, VIP6],
    ["udp", 53, VIP],
    ["udp", 53, VIP6],
  ] as const)("is counted: %s %i to %s", async (protocol, port, to) => {
    const { counts, lost } = await lab.client.connect({ to, port, protocol, count: 1300 });
    expect(lost).toBe(0);
    expect(Object.values(counts)).toEqual(Array(13).fill(100));
  });

  it("keeps the order of connections in strict sequence", async () => {
    const { answers } = await lab.client.connect({ to: VIP, port: 80, count: 39, concurrency: 1 });
    const order = answers.map(({ address }) => lab.backends4.indexOf(address));
    expect(order.map((each) => (each - order[0]! + 13) % 13)).toEqual(order.map((_, k) => k % 13));
  });

  it("opens 3,000 connections in a few seconds", async () => {
    const began = performance.now();
    const { lost } = await lab.client.connect({ to: VIP, port: 80, count: 3000 });
    expect(lost).toBe(0);
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  it("notices a gap in a steady stream", async () => {
    const stream = await lab.client.steady({ to: VIP, port: 80, timeout: 200 });
    await sleep(300);
    await lab
      .gateway("edge-1")
      .sh("nft add chain ip try gap '{ type filter hook forward priority 0; policy drop; }'");
    await sleep(200);
    await lab.gateway("edge-1").sh("nft delete chain ip try gap");
    await sleep(200);
    const { count, lost, counts } = await stream.stop();
    expect(lost.length).toBeGreaterThan(3);
    expect(lost[0]!.at).toBeGreaterThan(200);
    expect(Object.values(counts).reduce((sum, n) => sum + n) + lost.length).toBe(count);
  });

  it("keeps a connection open, over both protocols", async () => {
    for (const [protocol, port] of [["tcp", 80] as const, ["udp", 53] as const]) {
      const held = await lab.client.open({ to: VIP, port, protocol });
      expect(await held.ask()).toMatchObject({ address: (held.first as { address: string }).address });
      await held.close();
    }
  });

  it("sends single datagrams from a given port", async () => {
    await lab.client.send({ to: VIP, port: 53, fromPort: 5353, count: 2 });
    const flows = await lab.gateway("edge-1").sh("conntrack -L -p udp --orig-port-src 5353 2>/dev/null");
    expect(flows.trim().split("\n")).toHaveLength(1);
  });
});

describe("ssh", () => {
  it("lets ssh2 in, many connections at once, and counts them", async () => {
    const gateway = lab.gateway("edge-1");
    const before = gateway.sshConnections;
    const said = await Promise.all(
      Array.from({ length: 12 }, (_, k) => ssh(gateway.connection, `echo $(hostname) ${k}`)),
    );
    expect(said).toEqual(said.map((_, k) => `edge-1 ${k}\n`));
    expect(gateway.sshConnections - before).toBe(12);
    expect(gateway.ssh.log).toBe("");
  });

  it("lets OpenSSH's own client in, with the host key checked", async () => {
    const { privateKey, hostKey, port } = lab.gateway("edge-2").connection;
    const folder = mkdtempSync(join(tmpdir(), "lab-ssh-"));
    try {
      writeFileSync(join(folder, "key"), privateKey, { mode: 0o600 });
      writeFileSync(join(folder, "known"), `[127.0.0.1]:${port} ${hostKey}\n`);
      const outcome = await run([
        ...["ssh", "-F", "none", "-p", `${port}`, "-i", join(folder, "key"), "-o", "BatchMode=yes"],
        ...["-o", `UserKnownHostsFile=${join(folder, "known")}`, "-o", "StrictHostKeyChecking=yes"],
        ...["root@127.0.0.1", "hostname; nft list ruleset || exit 7"],
      ]);
      expect(outcome).toMatchObject({ code: 7, stdout: "edge-2\n" });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("can be unreachable, move to another port, and change its key", async () => {
    const { ssh: sshd } = lab.gateway("edge-2");
    const before = lab.gateway("edge-2").connection;
    await sshd.stop();
    await expect(ssh(before, "true")).rejects.toThrow(/ECONNREFUSED/);
    await sshd.newHostKey();
    await sshd.start({ port: 0 });
    const after = lab.gateway("edge-2").connection;
    expect(after.port).not.toBe(before.port);
    expect(after.hostKey).not.toBe(before.hostKey);
    await expect(ssh({ ...after, hostKey: before.hostKey }, "true")).rejects.toThrow(/denied|verif/);
    expect(await ssh(after, "echo in")).toBe("in\n");
  });

  it("can be cut in the middle of a command, which goes on", async () => {
    const gateway = lab.gateway("edge-2");
    const command = ssh(gateway.connection, "sleep 0.5; touch /run/went-on");
    await expect
      .poll(() => gateway.sh("ls /proc/*/cmdline | wc -l; cat /proc/*/cmdline"), { timeout: 5000 })
      .toContain("sleep");
    gateway.ssh.cut();
    await expect(command).rejects.toThrow();
    await expect
      .poll(() => gateway.try("test -e /run/went-on"), { timeout: 3000 })
      .toMatchObject({ code: 0 });
  });

  it("lets another user in", async () => {
    const ops = await lab.gateway("edge-1").addUser("ops");
    expect(await ssh(ops, "id -un; id -u | grep -v '^0$' >/dev/null && echo plain")).toBe("ops\nplain\n");
  });

  const sudo = readdirSync("/usr/bin").includes("sudo");
  it.skipIf(!sudo)("lets another user become root by sudo", async () => {
    const admin = await lab.gateway("edge-1").addUser("admin", "ALL=(ALL) NOPASSWD: ALL");
    expect(await ssh(admin, "sudo -n sh -c 'id -u; nft list tables >/dev/null && echo nft'")).toBe(
      "0\nnft\n",
    );
  });
});

describe("a reboot", () => {
  it("keeps files and forgets the rest", async () => {
    const gateway = lab.gateway("edge-2");
    await gateway.sh(
      "iptables -t nat -A PREROUTING -j ACCEPT; touch /run/flag /etc/flag /usr/local/sbin/flag",
    );
    await gateway.sh("sleep 100 >/dev/null 2>&1 &");
    await gateway.reboot();
    expect(
      await gateway.sh("iptables -t nat -S PREROUTING; ls /run/flag /etc/flag /usr/local/sbin/flag || true"),
    ).toBe("-P PREROUTING ACCEPT\n/etc/flag\n/usr/local/sbin/flag\n");
    expect((await gateway.sh("cat /proc/*/comm")).split("\n")).not.toContain("sleep");
    const from = lab.clientAddress("edge-2");
    expect(await lab.client.connect({ to: lab.backends4[3]!, port: 80, from })).toMatchObject({ lost: 0 });
    expect(await ssh(gateway.connection, "hostname")).toBe("edge-2\n");
  });

  it("starts what systemd would, before the first packet", async () => {
    const gateway = lab.gateway("edge-2");
    const unit =
      "[Service]\nType=oneshot\nExecStart=/usr/sbin/iptables -P FORWARD DROP\nExecStart=/bin/cat /proc/net/dev\n";
    await gateway.write("/etc/systemd/system/try.service", `${unit}[Install]\nWantedBy=multi-user.target\n`);
    await gateway.write("/etc/sysctl.d/try.conf", "net.ipv4.ip_forward=0\n");
    expect((await gateway.try("systemctl is-enabled try")).code).toBe(1);
    await gateway.sh("systemctl daemon-reload && systemctl enable try.service && systemctl is-enabled try");
    expect(await gateway.reboot()).toMatch(/lo:(?!.*eth0)/s);
    expect(await gateway.sh("iptables -S FORWARD; sysctl -n net.ipv4.ip_forward")).toBe(
      "-P FORWARD DROP\n0\n",
    );
    await gateway.sh("systemctl disable --now try; rm /etc/sysctl.d/try.conf");
    expect(await gateway.reboot()).toBe("");
    expect(await gateway.sh("iptables -S FORWARD; sysctl -n net.ipv4.ip_forward")).toBe(
      "-P FORWARD ACCEPT\n1\n",
    );
  });
});

describe("requirements", () => {
  it("are told in one message", async () => {
    const { getuid } = process;
    process.getuid = () => 1000;
    try {
      await expect(Lab.create()).rejects.toThrow("the test lab cannot run here: it needs root");
    } finally {
      process.getuid = getuid!;
    }
  });
});

describe("the machine", () => {
  it("is left as it was while a lab runs", () => {
    expect(machine()).toBe(machineBefore);
  });

  it("keeps nothing of a lab whose process was killed", async () => {
    const code = `
      const { Lab } = require("./test/support/lab");
      Lab.create({ gateways: ["edge-1", "edge-2"], backends: 3 }).then(async (lab) => {
        await lab.backends.serve({ tcp: [80] });
        await lab.client.steady({ to: lab.backends4[0], port: 80 });
        const { Client } = require("ssh2");
        const client = new Client().on("ready", () => client.exec("echo up; exec sleep 1000", (_, channel) =>
          channel.on("data", () => console.log("up")))).connect(lab.gateway().connection);
        process.stdin.resume().on("end", () => process.exit()); // Should this test die.
      });`;
    const child = spawn(process.execPath, ["--import", "tsx", "-e", code], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    const family = descendants(child.pid!);
    const programs = () => family.map((pid) => readFileSync(`/proc/${pid}/comm`, "utf8").trim());
    await expect
      .poll(programs, { timeout: 5000 })
      .toEqual(expect.arrayContaining(["unshare", "cat", "sshd", "sleep", "node"]));
    const networks = networksOf(family);
    networks.delete(readlinkSync("/proc/self/ns/net"));
    expect(networks.size).toBe(4); // client, backends, two gateways

    child.kill("SIGKILL");
    await expect.poll(() => family.filter(isAlive), { timeout: 5000 }).toEqual([]);
    // A network without processes is taken apart by the kernel, and its veth pairs with it.
    expect([...networksOf(everyProcess())].filter((each) => networks.has(each))).toEqual([]);
    expect(machine()).toBe(machineBefore);
  });
});

/** Everything a lab might have touched in the machine's own namespace. */
function machine(): string {
  const show = (command: string, ...args: string[]) => execFileSync(command, args, { encoding: "utf8" });
  return [
    show("nft", "list", "ruleset"),
    show("ip", "-o", "link"),
    show("ip", "-o", "addr").replace(/valid_lft \S+ preferred_lft \S+/g, ""),
    show("ip", "rule"),
    show("ip", "route", "show", "table", "all"),
    show("ip", "netns"),
    show(
      "sh",
      "-c",
      "sysctl -a 2>/dev/null | grep -E '^net\\.(ipv4|ipv6|netfilter|bridge)' | grep -vE 'count|file-nr|tcp_mem|seed|stable'",
    ),
    readFileSync("/etc/passwd", "utf8"),
    readFileSync("/proc/self/mountinfo", "utf8"),
  ].join("\n");
}

/** The network namespaces that these processes are in. */
function networksOf(pids: readonly number[]): Set<string> {
  return new Set(
    pids.flatMap((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/ns/net`);
      } catch {
        return []; // It has ended.
      }
    }),
  );
}

function everyProcess(): number[] {
  return readdirSync("/proc").map(Number).filter(Number.isInteger);
}

function descendants(pid: number): number[] {
  const all = execFileSync("ps", ["-eo", "pid=,ppid="], { encoding: "utf8" });
  const pairs = all
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
  const below = (parent: number): number[] =>
    pairs.filter(([, ppid]) => ppid === parent).flatMap(([child]) => [child!, ...below(child!)]);
  return below(pid);
}

/** A zombie is dead: it waits for the machine's init to notice. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

async function forwardedBy(gateway: string): Promise<number> {
  return Number(await lab.gateway(gateway).sh("cat /sys/class/net/eth1/statistics/tx_packets"));
}

function ssh(connection: Connection, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const client = new Client();
    let stdout = "";
    client.on("error", reject);
    client.on("close", () => reject(new Error("the connection was cut")));
    client.on("ready", () => {
      client.exec(command, (error, channel) => {
        if (error) return reject(error);
        channel.on("data", (bytes: Buffer) => {
          stdout += bytes;
        });
        channel.stderr.resume();
        channel.on("close", () => {
          resolve(stdout);
          client.end();
        });
      });
    });
    const { hostKey, ...login } = connection;
    const expected = Buffer.from(hostKey.split(" ")[1]!, "base64");
    client.connect({
      ...login,
      algorithms: { serverHostKey: ["ssh-ed25519"] },
      hostVerifier: (key: Buffer) => key.equals(expected),
    });
  });
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
