import { describe, expect, test } from "vitest";
import { compile } from "../../src/core";
import { FARM, NFTABLES } from "./farms";
import { problemsOf } from "./problems";

describe("a name is one that needs no quotes anywhere", () => {
  test.each(["a", "web", "WEB", "OUTPUT", "Web-2", "web_2", "all", "ip", "map", "x".repeat(63)])(
    "%s",
    (name) => {
      expect(problemsOf(FARM, { name })).toEqual([]);
    },
  );
});

describe("any other name is refused", () => {
  const letters = 'is not a name; use letters, digits and single "-" or "_", a letter first';
  test.each<[string, unknown, string]>([
    ["nothing", "", `"" ${letters}`],
    ["a digit first", "1web", `"1web" ${letters}`],
    ["an option", "-rf", `"-rf" ${letters}`],
    ["a dash last", "web-", `"web-" ${letters}`],
    ["a shell command", "$(reboot)", `"$(reboot)" ${letters}`],
    ["a shell separator", "web;reboot", `"web;reboot" ${letters}`],
    ["a quote", "web'", `"web'" ${letters}`],
    ["a brace of nft", "web}", `"web}" ${letters}`],
    ["a comment of nft", "web#", `"web#" ${letters}`],
    ["a path", "../web", `"../web" ${letters}`],
    ["a line break", "web\nflush ruleset", `"web\\nflush ruleset" ${letters}`],
    ["a line break last", "web\n", `"web\\n" ${letters}`],
    ["a terminal's control", "web\u009b", `"web\\u009b" ${letters}`],
    ["another direction", "\u202ebew", `"\\u202ebew" ${letters}`],
    ["a NUL", "web\0", `"web\\u0000" ${letters}`],
    ["a space", "my web", `"my web" ${letters}`],
    ["another script", "wеb", `"wеb" ${letters}`], // the second letter is Cyrillic
    ["a digit of another script", "web٣", `"web٣" ${letters}`],
    ["what looks like a shortened name", "we--0badcafe", `"we--0badcafe" ${letters}`],
    ["64 characters", "x".repeat(64), `"${"x".repeat(64)}" has 64 characters; 63 are allowed`],
    ["300 characters", "x".repeat(300), `"${"x".repeat(78)}… has 300 characters; 63 are allowed`],
    ["a number", 7, "7 is not a name; write it as text"],
    ["nothing at all", null, "null is not a name; write it as text"],
    ["a symbol", Symbol("web"), "a symbol is not a name; write it as text"],
  ])("%s", (_, name, problem) => expect(problemsOf(FARM, { name })).toEqual([`name: ${problem}`]));

  test("none at all", () => {
    expect(() => compile(undefined as never, FARM, NFTABLES)).toThrow(
      "farm without a name: 1 problem\n  name: is missing; write the farm's name as text",
    );
  });

  test("and stands on one line of the error", () => {
    expect(() => compile("web\nflush ruleset", FARM, NFTABLES)).toThrow(
      /^farm "web\\nflush ruleset": 1 problem\n/,
    );
  });
});

describe("the name in chains", () => {
  const short = (name: string) => compile(name, FARM, NFTABLES).plan.shortName;

  test("is the farm's own up to 12 characters", () => expect(short("twelve-chars")).toBe("twelve-chars"));

  test("is 12 characters that no farm is called for a longer one", () => {
    expect(short("thirteen-char")).toBe("th--3adc6cba");
    expect(problemsOf(FARM, { name: short("thirteen-char") })).toHaveLength(1);
  });

  test.each(["WEB", "A", "OUTPUT"])("is never that of a chain that all farms share: %s", (name) => {
    expect(short(name)).toMatch(/^[A-Z]{1,2}--[0-9a-f]{8}$/);
  });

  test("tells long names apart that begin alike", () => {
    const names = Array.from({ length: 500 }, (_, i) => `production-website-${i}`);
    expect(new Set(names.map(short)).size).toBe(500);
  });
});
