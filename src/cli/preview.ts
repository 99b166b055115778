import { changesOf } from "../report/group";
import type { Rules } from "../report/rules";
import { show } from "../spec/problem";
import { InputError } from "./errors";

/** What a preview would change of one farm on one gateway. */
export interface Planned {
  /** Its name; `group edge` where a group's farms cannot be told apart. */
  farm: string;
  gateway: string;
  before: Rules;
  after: Rules;
  /** The gateway is given up (`gone: true`): nothing dials it. */
  gone: boolean;
}

/** What the engine writes in the place of an unknown (sdk/go/common/resource/plugin, UnknownStringValue). */
const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const NONE: Rules = { kind: "none" };
const SECRET = "[secret]";

interface State {
  inputs?: Record<string, unknown>;
  retainOnDelete?: boolean;
}

interface Step {
  op: string;
  urn: string;
  oldState?: State;
  newState?: State;
}

/**
 * The farms that `pulumi preview --json` would change, by farm and gateway.
 *
 * @throws InputError where the text is none, or the preview failed
 */
export function readPreview(text: string): Planned[] {
  const steps = parse(text);
  const planned = new Map<string, Planned & { isGroup: boolean }>();
  for (const { op, urn, oldState, newState } of steps) {
    const inputs = newState?.inputs ?? oldState?.inputs;
    const owner = ownerOf(inputs);
    if (!owner || op === "same" || op === "refresh" || op === "read") continue;
    const known = planned.get(urn) ?? { ...owner, before: NONE, after: NONE, gone: false };
    // A replacement is several steps: one has the old state, another the new.
    if (oldState && known.before.kind === "none") known.before = rulesOf(oldState);
    if (newState && !/^delete/.test(op)) known.after = rulesOf(newState);
    known.gone ||= op === "delete" && oldState?.retainOnDelete === true;
    planned.set(urn, known);
  }
  return [...planned.values()]
    .flatMap(({ isGroup, ...one }) => (isGroup ? farmsOf(one) : [one]))
    .sort((a, b) => compareText(a.farm, b.farm) || compareText(a.gateway, b.gateway));
}

/** The farms of a group that change; the group itself where that is hidden, or its rules are applied again. */
function farmsOf(group: Planned): Planned[] {
  const { before, after, gateway, gone } = group;
  const changes = changesOf(before, after);
  if (gone || changes.length === 0) return [{ ...group, farm: `group ${group.farm}` }];
  return changes.map((change) => ({ ...change, gateway, gone }));
}

function parse(text: string): Step[] {
  let preview: unknown;
  try {
    preview = JSON.parse(text);
  } catch {
    const [first] = text.trimStart().split("\n");
    throw new InputError(
      text.trim() === ""
        ? "standard input is empty: give it what pulumi preview --json prints"
        : `standard input is not the JSON of pulumi preview --json: it begins with ${show(first)}; ` +
            "pass its standard output alone, without what else was printed",
    );
  }
  const { steps, diagnostics } = (preview ?? {}) as { steps?: unknown; diagnostics?: Diagnostic[] };
  const errors = Array.isArray(diagnostics) ? diagnostics.filter(({ severity }) => severity === "error") : [];
  if (errors.length > 0)
    throw new InputError(`the preview failed: ${errors.map(({ message }) => message?.trim()).join("; ")}`);
  if (!Array.isArray(steps))
    throw new InputError("standard input is JSON, but not of pulumi preview --json: it has no steps");
  return steps.filter(
    (step): step is Step => typeof step === "object" && step !== null && typeof step.op === "string",
  );
}

interface Diagnostic {
  severity?: string;
  message?: string;
}

/**
 * The farm (or group of farms) and the gateway that a Command is about. Its `delete` tells, because nothing of the rule set is in it, so no
 * secret or unknown hides it.
 */
function ownerOf(
  inputs: Record<string, unknown> | undefined,
): { farm: string; gateway: string; isGroup: boolean } | undefined {
  const command = inputs?.delete;
  if (typeof command !== "string") return undefined;
  const found = /\/netfilter-lb remove(-group)? (\S+) --owner [^/\s]+\/[^/\s]+\/([^/\s;]+)/.exec(command);
  return found ? { farm: found[2]!, gateway: found[3]!, isGroup: found[1] !== undefined } : undefined;
}

function rulesOf({ inputs }: State): Rules {
  const stdin = inputs?.stdin;
  if (stdin === UNKNOWN) return { kind: "unknown" };
  if (typeof stdin !== "string" || stdin === SECRET) return { kind: "secret" };
  return { kind: "text", text: stdin };
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
