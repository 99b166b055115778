/** What others would have on the gateway for the same farms. */

import { createHash } from "node:crypto";
import { backendsOf, type Scenery, servicesOf } from "./scenery";

/** Four decimals and more are what guides print; the kernel keeps 31 bits of it. */
const probability = (value: number) => value.toFixed(11);

/**
 * The rules of many guides: one for each backend, each of probability 1/n of what the rules before it left. Of 4 equal
 * backends 31.6 % of the connections find none, of many 1/e, 36.8 %.
 */
export function naive(scenery: Scenery): string {
  const { protocol } = scenery;
  const backends = backendsOf(scenery);
  const { weights = backends.map(() => 1) } = scenery;
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const rules = servicesOf(scenery).flatMap(({ address, port }) =>
    backends.map(
      (backend, k) =>
        `-A PREROUTING -d ${address}/32 -p ${protocol} -m ${protocol} --dport ${port} -m statistic --mode random ` +
        `--probability ${probability(weights[k]! / total)} -j DNAT --to-destination ${backend}`,
    ),
  );
  return ["*nat", ...rules, "COMMIT\n"].join("\n");
}

/**
 * Zevenet's list: in mangle restore the connection's mark, a MARK rule for each backend of which the last that matches
 * wins, save it; in nat one DNAT rule for each mark. With probabilities 1, 1/2, 1/3 …, which are even.
 */
export function zevenet(scenery: Scenery): string {
  const { protocol } = scenery;
  const backends = backendsOf(scenery);
  const mark = (farm: number, k: number) => `0x${(0x200 + farm * backends.length + k).toString(16)}`;
  const services = servicesOf(scenery);
  const marks = services.flatMap(({ address, port }, farm) =>
    backends.map(
      (_, k) =>
        `-A PREROUTING -d ${address}/32 -p ${protocol} -m statistic --mode random --probability ` +
        `${probability(1 / (k + 1))} -m ${protocol} --dport ${port} -m comment --comment FARM_farm${farm}_${k}_ ` +
        `-j MARK --set-xmark ${mark(farm, k)}/0xffffffff`,
    ),
  );
  const translations = services.flatMap((_, farm) =>
    backends.map(
      (backend, k) =>
        `-A PREROUTING -m mark --mark ${mark(farm, k)} -m comment --comment FARM_farm${farm}_${k}_ ` +
        `-j DNAT --to-destination ${backend}`,
    ),
  );
  return [
    "*mangle",
    "-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
    ...marks,
    "-A PREROUTING -m state --state NEW -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
    "COMMIT",
    "*nat",
    ...translations,
    "COMMIT\n",
  ].join("\n");
}

/**
 * kube-proxy's iptables mode (pkg/proxy/iptables/proxier.go): a list of services, a chain for each with the
 * probabilities 1/n, 1/(n-1) … 1, a chain for each endpoint. Without source NAT, as the others.
 */
export function kubeProxy(scenery: Scenery): string {
  const { protocol } = scenery;
  const backends = backendsOf(scenery);
  const chains: string[] = [];
  const rules: string[] = [];
  const list: string[] = [];
  for (const [farm, { address, port }] of servicesOf(scenery).entries()) {
    const name = `default/farm${farm}`;
    const service = `KUBE-SVC-${kubeHash(name)}`;
    const comment = (text: string) => `-m comment --comment "${text}"`;
    chains.push(`:${service} - [0:0]`);
    list.push(
      `-A KUBE-SERVICES -d ${address}/32 -p ${protocol} ${comment(`${name} cluster IP`)} -m ${protocol} --dport ${port} -j ${service}`,
    );
    for (const [k, backend] of backends.entries()) {
      const to = `${backend}:${port}`;
      const endpoint = `KUBE-SEP-${kubeHash(`${name} ${to}`)}`;
      const left = backends.length - k;
      const chance = left > 1 ? `-m statistic --mode random --probability ${probability(1 / left)} ` : "";
      chains.push(`:${endpoint} - [0:0]`);
      rules.push(
        `-A ${service} ${comment(`${name} -> ${to}`)} ${chance}-j ${endpoint}`,
        `-A ${endpoint} -s ${backend}/32 ${comment(name)} -j KUBE-MARK-MASQ`,
        `-A ${endpoint} -p ${protocol} ${comment(name)} -m ${protocol} -j DNAT --to-destination ${to}`,
      );
    }
  }
  return [
    "*filter",
    ":KUBE-FORWARD - [0:0]",
    "-A FORWARD -j KUBE-FORWARD",
    "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
    "-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT",
    "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "COMMIT",
    "*nat",
    ":KUBE-SERVICES - [0:0]",
    ":KUBE-POSTROUTING - [0:0]",
    ":KUBE-MARK-MASQ - [0:0]",
    ...chains,
    "-A PREROUTING -j KUBE-SERVICES",
    "-A POSTROUTING -j KUBE-POSTROUTING",
    "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
    "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
    "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
    "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
    ...list,
    ...rules,
    "COMMIT\n",
  ].join("\n");
}

/** 16 characters, as kube-proxy's own names have. */
function kubeHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16).toUpperCase();
}
