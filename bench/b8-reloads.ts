/** B8: connections that changes at full load lose, a thousand in all. The test of reloads does it; this reads what it counted. */

import { spawn } from "node:child_process";
import { join } from "node:path";
import type { Measurement } from "./harness/measurement";
import type { Figure } from "./harness/result";

const ROOT = join(__dirname, "..");
const TEST = "test/traffic/reload.test.ts";
const NAME = "takes changes of everything";
/** `nft: iptables, layout nat: 1000 changes, seed 1: {…}` */
const LINE = /^(nft|legacy): (.*): (\d+) changes, seed \d+: (\{.*\})$/gm;

interface Counted {
  readonly count: number;
  readonly lost: readonly string[];
  readonly slow: number;
  readonly missed: number;
  readonly input: number;
  readonly forward: number;
  readonly output: number;
  readonly stray: number;
}

export const reloads: Measurement = {
  id: "B8",
  title: "Connections disturbed by changes at full load",
  unit: "",
  axis: "changes",
  rounds: 1,
  async run({ quick, rounds, say }) {
    const changes = quick ? 3 : 200 * rounds;
    say(`${changes} changes of everything, in every data plane; about half a second each`);
    const output = await vitest(changes);
    const figures = [...output.matchAll(LINE)].flatMap(([, iptables, label, count, json]) =>
      figuresOf(iptables === "legacy" ? `${label} (legacy)` : label!, Number(count), JSON.parse(json!)),
    );
    if (figures.length === 0) throw new Error(`${TEST} counted nothing:\n${output.slice(-3000)}`);
    return { figures };
  },
};

function figuresOf(subject: string, changes: number, counted: Counted): Figure[] {
  const { count, lost, slow, missed, input, forward, output, stray } = counted;
  const figure = (part: string, value: number, atMost?: number): Figure => ({
    subject,
    role: "ours",
    part,
    at: changes,
    values: [value],
    ...(atMost !== undefined && { target: { of: "value", atMost } }),
  });
  return [
    figure("connections made meanwhile", count),
    figure("connections without an answer", lost.length, 0),
    figure("connections that took a second or more", slow, 0),
    figure("packets untranslated, or to no member", missed + input + forward + output + stray, 0),
  ];
}

/** What the test says, whether it passes or not: what it counted is our verdict. */
function vitest(changes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    // It ends with us, even if we are killed, and what it made ends with it: a worker that is a thread cannot live on.
    const program = [
      "setpriv",
      "--pdeathsig",
      "TERM",
      process.execPath,
      join(ROOT, "node_modules/vitest/vitest.mjs"),
    ];
    const options = [
      "run",
      TEST,
      "-t",
      NAME,
      "--pool=threads",
      "--reporter=default",
      "--disable-console-intercept",
    ];
    const [command = "", ...args] = [...program, ...options];
    const child = spawn(command, args, {
      cwd: ROOT,
      env: { ...process.env, RELOADS: String(changes), NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
    child.on("error", reject);
    child.on("close", () => resolve(output));
  });
}
