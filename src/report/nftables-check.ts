import { elementsOf } from "../nftables/lower";
import type { NftRule, NftRuleSet } from "../nftables/ruleset";
import { backendId } from "./facts";
import type { Header } from "./header";
import { notARuleSet } from "./text";

/**
 * What a header and comments say must be what the rules do, and all that the rules name must be there.
 *
 * @throws SpecError
 */
export function checkNftables(set: NftRuleSet, header: Header): void {
  checkBackends(set, header);
  checkMasks(set, header);
  checkObjects(set);
  checkElements(set, header);
}

/** Backends by mark, as comments name them, and places by mark. */
function checkBackends({ chains }: NftRuleSet, { backends }: Header): void {
  const known = new Map(backends.map((one) => [backendId(one.family, one.mark), one]));
  const places = new Set(backends.map(({ address, port }) => `${address} ${port}`));
  for (const { family, rules } of chains) {
    for (const rule of rules) {
      for (const { mark, key } of namedBy(rule))
        if (known.get(backendId(family, mark))?.key !== key)
          throw notARuleSet(`has rules about ${key}, of which the header says otherwise`);
      if (rule.kind === "translateByMark")
        for (const { mark, address, port } of rule.targets) {
          const backend = known.get(backendId(family, mark));
          if (backend?.address !== address || backend.port !== port)
            throw notARuleSet(`leads to ${address}, of which the header says otherwise`);
        }
      if (rule.kind === "translate" && !places.has(`${rule.target.address} ${rule.target.port}`))
        throw notARuleSet(`leads to ${rule.target.address}, of which the header says nothing`);
    }
  }
}

function namedBy(rule: NftRule): { mark: number; key: string }[] {
  switch (rule.kind) {
    case "pin":
    case "pinChain":
      return rule.pins.map(({ backend }) => backend);
    case "keep":
    case "limitBackends":
      return rule.backends;
    case "chooseMark":
    case "chooseChain":
      return rule.slots.map(({ backend }) => backend);
    case "hashMark":
    case "hashChain":
    case "markOfSlot":
      return rule.groups.map(({ backend }) => backend);
    default:
      return [];
  }
}

function checkMasks({ chains }: NftRuleSet, { markMask }: Header): void {
  for (const { rules } of chains)
    for (const rule of rules)
      if ((rule.kind === "count" || rule.kind === "limitBackend") && rule.mask !== markMask)
        throw notARuleSet("has rules of another mark-mask than its header");
}

/** A rule that names an object which is not there would not load. */
function checkObjects({ objects, chains }: NftRuleSet): void {
  const known = new Set(objects.map(({ family, name }) => `${family} ${name}`));
  for (const { family, rules } of chains)
    for (const rule of rules) {
      const name =
        "set" in rule ? rule.set : "map" in rule ? rule.map : "object" in rule ? rule.object : undefined;
      if (name !== undefined && !known.has(`${family} ${name}`))
        throw notARuleSet(`names ${name}, which is not there`);
    }
}

function checkElements({ chains, elements }: NftRuleSet, { services, shortName }: Header): void {
  const chain = `${shortName}.farm`;
  const enters = elements.find((element) => element.interface !== undefined)?.interface;
  const wanted = services.flatMap((service) => {
    const source = chains.some(({ family, name }) => family === service.family && name === `${chain}.source`);
    return elementsOf(service, { chain, interface: enters, source });
  });
  if (JSON.stringify(wanted) !== JSON.stringify(elements))
    throw notARuleSet("has elements of other services than its header");
}
