import { FAMILY_NAME, type Family } from "./address";
import { type Entry, familyOf, type Known } from "./entry";
import type { Problem } from "./problem";
import type { Helper, ListenerSpec, Protocol } from "./types";

/** What the listeners' protocols contradict: helpers, affinity by port, a switch that is TCP's. */
export function checkProtocols(farm: Known): Problem[] {
  return [...checkAffinityPort(farm), ...checkLooseTcp(farm), ...checkHelper(farm)];
}

function checkAffinityPort({ spec, sound, listeners }: Known): Problem[] {
  const every = listeners.find(({ value }) => value.protocol === "all");
  if (!every || !sound("affinity") || spec.affinity?.by !== "sourceIpPort") return [];
  return [
    {
      path: ["affinity", "by"],
      text: `sourceIpPort needs ports, but listeners[${every.index}] takes every protocol; take sourceIp, or give the listener a protocol`,
    },
  ];
}

function checkLooseTcp({ spec, sound, listeners, allListeners }: Known): Problem[] {
  if (!allListeners || !sound("looseTcp") || spec.looseTcp !== true) return [];
  if (listeners.some(({ value }) => value.protocol === "tcp" || value.protocol === "all")) return [];
  return [{ path: ["looseTcp"], text: "true goes with tcp, but no listener takes it; leave the field out" }];
}

/** What a helper of the kernel can do for a farm. */
type Reach = { protocols: readonly Protocol[]; families: readonly Family[] } | { useless: string };

const BOTH: readonly Family[] = ["ip", "ip6"];
const IPV4: readonly Family[] = ["ip"];

/**
 * What each helper registers itself for (Linux, net/netfilter/nf_conntrack_NAME.c), less what it does not translate, since
 * a farm's connections always are: amanda and h323 read IPv6 too, but call their NAT for NFPROTO_IPV4 alone.
 */
const HELPERS: Record<Helper, Reach> = {
  amanda: { protocols: ["udp"], families: IPV4 },
  ftp: { protocols: ["tcp"], families: BOTH },
  h323: { protocols: ["tcp"], families: IPV4 },
  irc: { protocols: ["tcp"], families: IPV4 },
  // nf_conntrack_broadcast.c: "we're only interested in locally generated packets"
  "netbios-ns": { useless: "follows only broadcasts that the gateway itself sends; leave it out" },
  pptp: { protocols: ["tcp"], families: IPV4 },
  // There is no nf_nat_sane.c: the scanner's second connection would come to the gateway itself.
  sane: {
    useless:
      "does not follow what is translated; leave it out, and take a listener without port and affinity by sourceIp",
  },
  sip: { protocols: ["tcp", "udp"], families: BOTH },
  snmp: { protocols: ["udp"], families: IPV4 },
  tftp: { protocols: ["udp"], families: BOTH },
};

function checkHelper({ spec, sound, listeners }: Known): Problem[] {
  if (!sound("helper") || spec.helper === undefined) return [];
  const reach = HELPERS[spec.helper];
  const refuse = (why: string) => [{ path: ["helper"], text: `"${spec.helper}" ${why}` }];
  if ("useless" in reach) return refuse(reach.useless);
  const speaks = reach.protocols.join(" and ");
  const deaf = listeners.find(({ value }) => !reach.protocols.includes(value.protocol));
  const stranger = listeners.find((entry) => !reach.families.includes(familyOf(entry)));
  return [
    ...(deaf ? refuse(`speaks ${speaks}, but ${describe(deaf, speaks)}`) : []),
    ...(stranger
      ? refuse(
          `is translated in IPv4 alone, but listeners[${stranger.index}] is ${FAMILY_NAME.ip6}; make a farm for each family`,
        )
      : []),
  ];
}

function describe({ index, value }: Entry<ListenerSpec>, speaks: string): string {
  return value.protocol === "all"
    ? `listeners[${index}] takes every protocol; give it protocol ${speaks.replace(" and ", " or ")}`
    : `listeners[${index}] is ${value.protocol}; make that a farm of its own`;
}
