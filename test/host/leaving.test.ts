import { afterEach, describe, expect, test } from "vitest";
import { compile, type FarmSpec, type TargetSpec } from "../../src/core";
import { TARGETS } from "../support/farms";
import { Machine } from "./support";

/** What becomes of the connections of a backend that leaves. */

let machine: Machine;
afterEach(() => machine.end());

const spec: FarmSpec = {
  listeners: [
    { address: "203.0.113.10", protocol: "tcp", ports: "80,8000-8010" },
    { address: "203.0.113.10", protocol: "udp", ports: "53,5000-5010" },
    { address: "2001:db8::10", protocol: "udp", port: 53 },
  ],
  backends: [
    { address: "10.0.0.3", mark: 3 },
    { address: "10.0.0.4", mark: 4 },
    { address: "2001:db8:1::3", mark: 0xfffffff3 },
    { address: "2001:db8:1::4", mark: 0xfffffff4 },
  ],
};
const backends = [spec.backends[0]!, spec.backends[2]!];

const other: FarmSpec = {
  listeners: [{ address: "203.0.113.10", protocol: "tcp", ports: "81,8011" }],
  backends: [{ address: "10.0.0.4", mark: 4 }],
};

const FLOWS = [
  "tcp 203.0.113.10 80 3",
  "tcp 203.0.113.10 80 4",
  "tcp 203.0.113.10 81 4",
  "tcp 203.0.113.10 8001 3",
  "tcp 203.0.113.10 8001 4",
  "tcp 203.0.113.10 8011 4",
  "udp 203.0.113.10 53 3",
  "udp 203.0.113.10 53 4",
  "udp 203.0.113.10 5001 4",
  "udp 203.0.113.10 5011 4",
  "udp 203.0.113.9 53 4",
  "udp 2001:db8::10 53 4294967283",
  "udp 2001:db8::10 53 4294967284",
];

async function openFlows(flows: readonly string[] = FLOWS): Promise<void> {
  const lines = flows.map((flow, i) => {
    const [protocol, address = "", port, mark] = flow.split(" ");
    const six = address.includes(":");
    const [client, backend] = six ? ["2001:db8:2::1", "2001:db8:1::3"] : ["192.0.2.1", "10.0.0.3"];
    const state = protocol === "tcp" ? "--state ESTABLISHED" : "";
    const ends =
      `--sport ${1000 + i} --dport ${port} --reply-port-src ${port} --reply-port-dst ${1000 + i}` +
      ` -s ${client} -d ${address} -r ${backend} -q ${client}`;
    return `conntrack -I -p ${protocol} ${ends} -t 600 ${state} -m ${mark} 2>/dev/null`;
  });
  await machine.sh(lines.join(" &&\n"));
}

async function openedFlows(): Promise<string[]> {
  const text = await machine.sh("conntrack -L -f ipv4 2>/dev/null; conntrack -L -f ipv6 2>/dev/null");
  return [...text.matchAll(/^(\w+) .*? dst=(\S+) sport=\d+ dport=(\d+) .* mark=(\d+)/gm)]
    .map((match) => match.slice(1).join(" "))
    .sort();
}

const without = (gone: (flow: string) => boolean) => FLOWS.filter((flow) => !gone(flow)).sort();
const ofUdp = (flow: string) => /^udp (203.0.113.10 (53|5001)|2001:db8::10 53) (4|4294967284)$/.test(flow);
const ofBoth = (flow: string) => ofUdp(flow) || /^tcp 203.0.113.10 (80|8001) 4$/.test(flow);

async function apply(name: string, farm: FarmSpec, target: TargetSpec): Promise<string> {
  const outcome = await machine.apply(name, compile(name, farm, target).ruleSet);
  expect(outcome).toMatchObject({ code: 0, stderr: "" });
  return outcome.stdout;
}

describe.each(TARGETS)("%s", (_, target) => {
  test.each([
    ["keep", ofUdp],
    ["cut", ofBoth],
  ] as const)("a backend that is removed, with onRemoval %s", async (onRemoval, gone) => {
    machine = await Machine.start();
    await apply("web", { ...spec, onRemoval }, target);
    await apply("other", other, target);
    await openFlows();
    await apply("web", { ...spec, onRemoval, backends }, target);
    expect(await openedFlows()).toEqual(without(gone));
  });

  test("a backend that is down is cut, one that drains is not", async () => {
    machine = await Machine.start();
    const onRemoval = "cut";
    const all = (state: "drain" | "down") =>
      spec.backends.map((backend) => (backends.includes(backend) ? backend : { ...backend, state }));
    await apply("web", { ...spec, onRemoval }, target);
    await apply("other", other, target);
    await openFlows();
    await apply("web", { ...spec, onRemoval, backends: all("drain") }, target);
    expect(await openedFlows()).toEqual([...FLOWS].sort());
    await apply("web", { ...spec, onRemoval, backends: all("down") }, target);
    expect(await openedFlows()).toEqual(without(ofBoth));
  });

  test("a farm that is removed takes its UDP flows along, and all that were to be cut", async () => {
    machine = await Machine.start();
    for (const onRemoval of ["keep", "cut"] as const) {
      await apply("web", { ...spec, onRemoval }, target);
      await apply("other", other, target);
      await machine.sh("conntrack -F 2>/dev/null");
      await openFlows();
      await machine.remove("web");
      const own = (flow: string) =>
        /^udp (203.0.113.10 (53|5001)|2001:)/.test(flow) ||
        (onRemoval === "cut" && /^tcp 203.0.113.10 (80|8001) /.test(flow));
      expect(await openedFlows()).toEqual(without(own));
    }
  });

  test("a stored file of the version before, without backends in its header", async () => {
    machine = await Machine.start();
    await apply("web", spec, target);
    await machine.sh("sed -i '/^# backend /d' /etc/netfilter-lb/farms/web.rules");
    await openFlows();
    await apply("web", { ...spec, backends }, target);
    expect(await openedFlows()).toEqual(without(ofUdp));
  });

  test("of a mark that shares its bits only its own count", async () => {
    machine = await Machine.start();
    const masked = { ...target, markMask: 0xff00 };
    const marked = (mark: number) => [{ address: `10.0.0.${mark}`, mark: mark << 8 }];
    const farm = (mark: number): FarmSpec => ({
      listeners: [{ address: "203.0.113.10", protocol: "udp", port: 53 }],
      backends: marked(mark),
    });
    await apply("web", farm(3), masked);
    await openFlows(["udp 203.0.113.10 53 197379", "udp 203.0.113.10 53 1283"]);
    await apply("web", farm(4), masked);
    expect(await openedFlows()).toEqual(["udp 203.0.113.10 53 1283"]);
  });

  test("every protocol of an address is cut", async () => {
    machine = await Machine.start();
    const farm = (...addresses: string[]): FarmSpec => ({
      listeners: [{ address: "203.0.113.10", protocol: "all" }],
      backends: addresses.map((address, i) => ({ address, mark: 3 + i })),
      onRemoval: "cut",
    });
    await apply("web", farm("10.0.0.3", "10.0.0.4"), target);
    await openFlows(["tcp 203.0.113.10 80 4", "udp 203.0.113.10 53 4", "tcp 203.0.113.10 80 3"]);
    await machine.sh(
      "conntrack -I -p icmp -s 192.0.2.1 -d 203.0.113.10 --icmp-type 8 --icmp-code 0 --icmp-id 5 -t 60 -m 4 2>/dev/null",
    );
    await apply("web", farm("10.0.0.3"), target);
    expect(await machine.sh("conntrack -L 2>/dev/null | grep -c mark=4 || :")).toBe("0\n");
    expect(await openedFlows()).toEqual(["tcp 203.0.113.10 80 3"]);
  });
});

test("a service that another farm takes over keeps the flows of backends that it has too", async () => {
  machine = await Machine.start();
  const target: TargetSpec = { dataPlane: "nftables" };
  await apply("web", { ...spec, onRemoval: "cut" }, target);
  await openFlows(FLOWS.filter((flow) => !/ (81|8011) /.test(flow)));
  await apply("other", { ...spec, onRemoval: "cut", backends }, target);
  const left = without((flow) => ofBoth(flow) || / (81|8011) /.test(flow));
  expect(await openedFlows()).toEqual(left);
});

test("many backends leave at once", async () => {
  machine = await Machine.start();
  const farm = (count: number): FarmSpec => ({
    listeners: [{ address: "203.0.113.10", protocol: "udp", port: 53 }],
    backends: Array.from({ length: count }, (_, i) => ({ address: `10.0.0.${i + 1}`, mark: i + 1 })),
  });
  const flows = Array.from({ length: 40 }, (_, i) => `udp 203.0.113.10 53 ${i + 1}`);
  await apply("web", farm(40), { dataPlane: "nftables" });
  await openFlows([...flows, "udp 203.0.113.10 54 5"]);
  await apply("web", farm(4), { dataPlane: "nftables" });
  expect(await openedFlows()).toEqual([...flows.slice(0, 4), "udp 203.0.113.10 54 5"].sort());
});

test("without conntrack the answer says what goes on", async () => {
  machine = await Machine.start({ hide: ["conntrack"] });
  const warning =
    "warning: the connections of backends that leave go on, because conntrack is not installed here: install the package conntrack\n";
  const target: TargetSpec = { dataPlane: "nftables" };
  expect(await apply("web", { ...spec, onRemoval: "cut" }, target)).toBe(`applied: farm web\n${warning}`);
  expect(await machine.remove("web")).toMatchObject({ code: 0, stdout: `${warning}removed: farm web\n` });
  expect(await apply("web", spec, target)).toBe("applied: farm web\n");
});
