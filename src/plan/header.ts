import { hex } from "../spec/check";
import { formatService } from "../spec/service";
import { FULL_MASK } from "./mark";
import type { Plan, PlannedBackend, Pool } from "./plan";

/** The version of the rule set's form (docs/rule-set.md), which the tool on a gateway checks. */
export const RULE_SET_VERSION = 1;

/**
 * Longest line of a rule set: `pulumi preview --diff` cuts a longer one. Only iptables lines with two IPv6
 * addresses (a source network and the service's) or a rate may be longer; what is cut there is the target, and of a rate its expiry.
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
    ...(plan.markMask === FULL_MASK ? [] : [`# mark-mask ${hex(plan.markMask)}`]),
    ...(plan.onRemoval === "keep" ? [] : [`# on-removal ${plan.onRemoval}`]),
    ...plan.pools.flatMap((pool) =>
      pool.backends.filter(({ role }) => role !== "down").map((backend) => renderBackend(pool, backend)),
    ),
  ];
}

/** `# backend 10.0.0.3:80 0xa9a5126d 3/4`, or `… 0/4 drain`. A backend that is down is not there. */
function renderBackend({ total }: Pool, { key, mark, share, role }: PlannedBackend): string {
  return `# backend ${key} ${hex(mark)} ${share}/${total}${role === "active" ? "" : ` ${role}`}`;
}
