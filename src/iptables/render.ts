import { LINE_LENGTH, renderHeader } from "../plan/header";
import type { Plan } from "../plan/plan";
import type { Family } from "../spec/address";
import type { Layout } from "../spec/types";
import { lower } from "./lower";
import { PREFIX, renderMatch, renderTarget } from "./render-rule";
import type { IptRule, IptRuleSet, IptSet, IptTable } from "./ruleset";

/** The text that a gateway gets: header, then for each family the sets, and the tables as `iptables-save` prints them. */
export function renderIptables(plan: Plan, layout: Layout): string {
  return [...renderHeader(plan, `iptables ${layout}`), ...renderIptRules(lower(plan, layout)), ""].join("\n");
}

/** What stands behind the header. */
export function renderIptRules({ families }: IptRuleSet): string[] {
  return families.flatMap(({ family, sets, tables }) => [
    `# ${family}`,
    ...sets.flatMap((set) => renderSet(family, set)),
    ...tables.flatMap((table) => renderTable(family, table)),
  ]);
}

function renderSet(family: Family, { name, type, maxEntries, timeout, entries }: IptSet): string[] {
  const ending = timeout === undefined ? "" : ` timeout ${timeout}`;
  return [
    `create ${PREFIX}${name} ${type} family ${family === "ip" ? "inet" : "inet6"} maxelem ${maxEntries}${ending}`,
    ...entries.map((entry) => `add ${PREFIX}${name} ${entry}`),
  ];
}

function renderTable(family: Family, { name, chains, rules }: IptTable): string[] {
  if (rules.length === 0) return [];
  return [
    `*${name}`,
    ...chains.map((chain) => `:${PREFIX}${chain} - [0:0]`),
    ...rules.map((rule) => renderRule(family, rule)),
    "COMMIT",
  ];
}

/** A rule's line. */
export function renderRule(family: Family, { chain, matches, target }: IptRule): string {
  const head = `-A ${PREFIX}${typeof chain === "string" ? chain : chain.own}`;
  const line = (comment: string) =>
    [head, ...matches.map((match) => renderMatch(family, match, comment)), renderTarget(family, target)].join(
      " ",
    );
  const comment = matches.find((match) => match.kind === "backendComment");
  if (!comment) return line("");
  // A comment is for the reader: where the line would be cut, first the farm's name gives way, then all but the number.
  const tail = `_${comment.index}_`;
  const room = LINE_LENGTH - line(`FARM_${tail}`).length;
  return line(room < 0 ? tail : `FARM_${comment.farm.slice(0, room)}${tail}`);
}
