import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { explain } from "../explain/explain";
import type { Packet } from "../explain/packet";
import { InputError, UsageError } from "./errors";
import { describeExplanation } from "./trace";

/** `netfilter-lb explain`. @returns what it prints */
export function explainCommand(args: readonly string[]): string {
  const { file, packet, json, all } = parse(args);
  const { name, spec, target } = readJson(file, () => readFileSync(file, "utf8")) as Program;
  if (spec === undefined || target === undefined)
    throw new InputError(`${file}: is not a program; give { "name", "spec", "target" }`);
  const explanation = explain(name, spec, readJson("--packet", () => packet) as Packet, target);
  return json ? JSON.stringify(explanation, null, 2) : describeExplanation(explanation, all);
}

type Program = {
  name: Parameters<typeof explain>[0];
  spec: Parameters<typeof explain>[1];
  target: Parameters<typeof explain>[3];
};

function parse(args: readonly string[]): { file: string; packet: string; json: boolean; all: boolean } {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        packet: { type: "string" },
        json: { type: "boolean", default: false },
        all: { type: "boolean", default: false },
      },
    });
    const [file, ...others] = positionals;
    if (file === undefined || others.length > 0) throw new UsageError("explain takes one program");
    if (values.packet === undefined) throw new UsageError("explain needs --packet");
    return { file, packet: values.packet, json: values.json, all: values.all };
  } catch (error) {
    throw error instanceof UsageError ? error : new UsageError((error as Error).message);
  }
}

function readJson(what: string, read: () => string): object {
  let value: unknown;
  try {
    value = JSON.parse(read());
  } catch (error) {
    throw new InputError(`${what}: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null) throw new InputError(`${what}: is not a JSON object`);
  return value;
}
