/** The least that the kernel can do: what our rules are measured against. */

import { backendsOf, type Scenery, type Service, servicesOf } from "./scenery";

/** Forwards and knows nothing of connections. */
export function forward(): string {
  return "";
}

/** Every connection to one backend: the rule that anybody would write by hand. */
export function plainDnat(scenery: Scenery): string {
  const [backend] = backendsOf(scenery);
  return table(scenery, () => `dnat to ${backend}`);
}

/** One rule that spreads over the same addresses, and nothing else: no mark, no guard, no counter. */
export function bareSpread(scenery: Scenery): string {
  const backends = backendsOf(scenery);
  const slots = backends.map((address, k) => `${k} : ${address}`).join(", ");
  return table(scenery, () => `dnat to numgen random mod ${backends.length} map { ${slots} }`);
}

/** One rule where there is one service; otherwise one map to a chain each. */
function table(scenery: Scenery, rule: (service: Service) => string): string {
  const { protocol } = scenery;
  const services = servicesOf(scenery);
  const [only] = services;
  const head = `type nat hook prerouting priority -100; policy accept;`;
  if (services.length === 1 && only) {
    const match = `ip daddr ${only.address} ${protocol} dport ${only.port}`;
    return `table ip bare {\n chain prerouting {\n  ${head}\n  ${match} ${rule(only)}\n }\n}\n`;
  }
  const chains = services.map((service, k) => ` chain service${k} {\n  ${rule(service)}\n }`);
  const elements = services.map(({ address, port }, k) => `${address} . ${port} : goto service${k}`);
  const map = ` map services {\n  type ipv4_addr . inet_service : verdict\n  elements = { ${elements.join(", ")} }\n }`;
  const look = `ip daddr . ${protocol} dport vmap @services`;
  return ["table ip bare {", ...chains, map, ` chain prerouting {\n  ${head}\n  ${look}\n }`, "}\n"].join(
    "\n",
  );
}
