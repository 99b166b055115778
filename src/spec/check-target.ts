import { hex } from "./check";
import { entries, familyOf, type Soundness } from "./entry";
import type { Problem } from "./problem";
import { PENDING } from "./schema";
import type { FarmSpec, TargetSpec } from "./types";

/** What a gateway cannot do for the farm. What is not known yet is passed over. */
export function checkTarget(target: TargetSpec, spec: FarmSpec, sound: Soundness): Problem[] {
  return [
    ...checkLayout(target),
    ...checkMask(target, spec, sound),
    ...checkKey(target, spec, sound),
    ...(target.dataPlane === "iptables" && target.layout === "zevenet"
      ? checkZevenet(spec, sound)
      : checkPartialMask(target, spec, sound)),
  ];
}

function checkLayout({ dataPlane, layout }: TargetSpec): Problem[] {
  if (typeof layout !== "string" || dataPlane !== "nftables") return [];
  return [{ path: ["layout"], text: `"${layout}" is a layout of iptables; leave it out with nftables` }];
}

function checkMask({ markMask: mask }: TargetSpec, spec: FarmSpec, sound: Soundness): Problem[] {
  if (typeof mask !== "number") return [];
  const room = 2 ** popcount(mask) - 1;
  const backends = Array.isArray(spec?.backends) ? spec.backends : [];
  const outside = entries(backends, (i) => sound("backends", i)).filter(
    ({ value }) => value.mark !== undefined && (value.mark & ~mask) !== 0,
  );
  const texts = [
    ...(backends.length > room
      ? [`${hex(mask)} has room for ${room} marks; the farm has ${backends.length} backends`]
      : []),
    ...outside.map(
      ({ index, value }) =>
        `${hex(mask)} does not hold backends[${index}].mark ${hex(value.mark!)}; give the backend a mark within it, or none`,
    ),
  ];
  return texts.map((text) => ({ path: ["markMask"], text }));
}

/** nft 1.0.6 keeps the mark in a register that a key of 18 bytes still needs, or aborts (netlink_gen_map_stmt). */
function checkKey({ dataPlane }: TargetSpec, spec: FarmSpec, sound: Soundness): Problem[] {
  if (dataPlane !== "nftables" || !sound("affinity") || spec.affinity?.by !== "sourceIpPort") return [];
  const listener = entries(spec.listeners, (i) => sound("listeners", i)).find(
    (entry) => familyOf(entry) === "ip6",
  );
  if (!listener) return [];
  return [
    {
      path: ["dataPlane"],
      text:
        `"nftables" has no affinity by sourceIpPort in IPv6 (nft 1.0.6 takes no such key), but listeners[${listener.index}] ` +
        "is IPv6; take sourceIp, or an iptables gateway",
    },
  ];
}

/** Zevenet's rules choose by a list, and by nothing that they would have to remember or to count. */
function checkZevenet(spec: FarmSpec, sound: Soundness): Problem[] {
  const algorithm = sound("algorithm") ? spec.algorithm : undefined;
  const limited = entries(spec?.backends, (i) => sound("backends", i)).find(
    ({ value }) => value.maxConnections !== undefined,
  );
  return [
    ...(algorithm === "sourceHash" || algorithm === "flowHash" ? [algorithm] : []),
    ...NOT_IN_ZEVENET.filter((field) => isGiven(spec?.[field])),
    ...(limited ? [`maxConnections (backends[${limited.index}])`] : []),
  ].map((what) => ({ path: ["layout"], text: `"zevenet" has no ${what}; take layout nat, or nftables` }));
}

const NOT_IN_ZEVENET = ["affinity", "pins", "limits", "allow", "deny", "helper", "log"] as const;

/** An empty list asks for nothing. */
function isGiven(value: unknown): boolean {
  return value !== undefined && value !== PENDING && !(Array.isArray(value) && value.length === 0);
}

/** What can only write a mark as a whole, where other software has bits of it. */
function checkPartialMask({ dataPlane, markMask }: TargetSpec, spec: FarmSpec, sound: Soundness): Problem[] {
  if (typeof markMask !== "number" || markMask === 0xffff_ffff) return [];
  const refuse = (what: string, why: string, remedy: string) => ({
    path: ["markMask"],
    text: `${hex(markMask)} leaves bits of the mark to others, but ${what} writes all of it (${why}); ${remedy}`,
  });
  const algorithm = sound("algorithm") ? spec.algorithm : undefined;
  if (dataPlane === "iptables")
    return algorithm === "sourceHash" || algorithm === "flowHash"
      ? [refuse(algorithm, "HMARK knows no mask", "use the whole mark, or an nftables gateway")]
      : [];
  const why = "nft 1.0.6 cannot put a looked-up value beside other bits";
  const shortened = PREFIXES.find(
    ([field, full]) => sound(field) && spec[field] !== undefined && spec[field] < full,
  );
  return [
    ...(sound("affinity") && spec.affinity !== undefined
      ? [refuse("affinity", why, "use the whole mark, or an iptables gateway")]
      : []),
    ...(shortened ? [refuse(shortened[0], why, "use the whole mark")] : []),
  ];
}

/** A hash of so many bits is one of the whole address. */
const PREFIXES = [
  ["prefixLength", 32],
  ["prefixLength6", 128],
] as const;

function popcount(mask: number): number {
  return [...(mask >>> 0).toString(2)].filter((bit) => bit === "1").length;
}
