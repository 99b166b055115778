import { isHidden, type Rules } from "./rules";

/** What becomes of one farm of a group. */
export interface FarmChange {
  farm: string;
  before: Rules;
  after: Rules;
}

const NONE: Rules = { kind: "none" };

/**
 * The farms of a group that change, by name; empty where one side is hidden: then nothing tells which.
 *
 * @param before the rule sets of the group, one after the other
 */
export function changesOf(before: Rules, after: Rules): FarmChange[] {
  if (isHidden(before) || isHidden(after)) return [];
  const [old, now] = [ruleSetsOf(before), ruleSetsOf(after)];
  return [...new Set([...old.keys(), ...now.keys()])]
    .filter((farm) => old.get(farm) !== now.get(farm))
    .sort()
    .map((farm) => ({ farm, before: rulesOf(old.get(farm)), after: rulesOf(now.get(farm)) }));
}

/** Farm to its rule set. What stands before the first one belongs to none. */
function ruleSetsOf(rules: Rules): Map<string, string> {
  const texts = rules.kind === "text" ? rules.text.split(/^(?=# netfilter-lb rule set )/m) : [];
  return new Map(
    texts.map((text) => [/^# netfilter-lb rule set .*\n# farm (\S+)$/m.exec(text)?.[1] ?? "", text]),
  );
}

function rulesOf(text: string | undefined): Rules {
  return text === undefined ? NONE : { kind: "text", text };
}
