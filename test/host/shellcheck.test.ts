import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { toolText } from "../../src/host/tool";

test("shellcheck has nothing to say about the tool", () => {
  const { stdout, status } = spawnSync("shellcheck", ["-s", "sh", "-"], {
    input: toolText(),
    encoding: "utf8",
  });
  expect({ stdout, status }).toEqual({ stdout: "", status: 0 });
});

test.each([["dash"], ["busybox", "ash"]])("%s parses it", (...shell) => {
  const [command = "", ...args] = shell.filter(Boolean);
  expect(spawnSync(command, [...args, "-n"], { input: toolText(), encoding: "utf8" }).stderr).toBe("");
});
