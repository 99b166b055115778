import { describe, expect, test } from "vitest";
import { compile, type FarmSpec } from "../../src/core";
import { FARM, NFTABLES } from "./farms";
import { listenerProblems } from "./problems";

describe("a list of ports is what it says, lowest first", () => {
  test.each([
    ["80", [[80, 80]]],
    [
      "443,80",
      [
        [80, 80],
        [443, 443],
      ],
    ],
    [
      "80, 443 , 8000 - 8080",
      [
        [80, 80],
        [443, 443],
        [8000, 8080],
      ],
    ],
    ["1-65535", [[1, 65535]]],
    ["080", [[80, 80]]],
  ] as [string, number[][]][])("%s", (ports, ranges) => {
    const listeners: FarmSpec["listeners"] = [{ address: "203.0.113.10", protocol: "tcp", ports }];
    const { plan } = compile("web", { ...FARM, listeners }, NFTABLES);
    expect(plan.pools[0]!.services.map(({ ports: { from, to } }) => [from, to])).toEqual(ranges);
  });
});

describe("a list of ports that cannot be meant is refused", () => {
  const neither = "which is neither a port nor a range such as 8000-8080";
  test("a thousand letters, on one line that is not long", () => {
    expect(listenerProblems({ address: "203.0.113.10", protocol: "tcp", ports: "x".repeat(1000) })).toEqual([
      `listeners[0].ports: "${"x".repeat(78)}… has "${"x".repeat(78)}…, ${neither}`,
    ]);
  });

  test.each<[string, unknown, string]>([
    ["nothing", "", `"" has "", ${neither}`],
    ["a comma too many", "80,", `"80," has "", ${neither}`],
    ["a name", "http", `"http" has "http", ${neither}`],
    ["iptables' range", "8000:8080", `"8000:8080" has "8000:8080", ${neither}`],
    ["an open range", "8000-", `"8000-" has "8000-", ${neither}`],
    ["a second line", "80\n;443", `"80\\n;443" has "80\\n;443", ${neither}`],
    ["port 0", "0", '"0" has 0; a port is between 1 and 65535'],
    ["a port too high", "80-70000", '"80-70000" has 80-70000; a port is between 1 and 65535'],
    ["a range backwards", "90-80", '"90-80" has 90-80; a range goes from the lower port to the higher'],
    ["a port twice", "80,80", '"80,80" names 80 twice (also in 80); name each port once'],
    [
      "ranges that overlap",
      "80-90,85-99",
      '"80-90,85-99" names 85-99 twice (also in 80-90); name each port once',
    ],
    ["a number", 80, '80 is not a list of ports; write it as text, such as "80,443,8000-8080"'],
  ])("%s", (_, ports, problem) => {
    const listener = { address: "203.0.113.10", protocol: "tcp", ports };
    expect(listenerProblems(listener)).toEqual([`listeners[0].ports: ${problem}`]);
  });
});
