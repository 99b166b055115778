import { formatService } from "../spec/service";
import type { Plan } from "./plan";

/** The version of the rule set's form (docs/rule-set.md), which the tool on a gateway checks. */
export const RULE_SET_VERSION = 1;

/**
 * Longest line of a rule set: `pulumi preview --diff` cuts a longer one. Only lines that hold an IPv6 address of full length
 * may be longer; what is cut there is the target.
 */
export const LINE_LENGTH = 150;

/** The comment lines that open a rule set. @param dataPlane such as `iptables nat` */
export function renderHeader(plan: Plan, dataPlane: string): string[] {
  return [
    `# netfilter-lb rule set ${RULE_SET_VERSION}`,
    `# farm ${plan.name}`,
    `# short-name ${plan.shortName}`,
    `# data-plane ${dataPlane}`,
    ...plan.pools.flatMap((pool) => pool.services.map((service) => `# service ${formatService(service)}`)),
  ];
}
