import { limitOf } from "./backends";
import type { Difference } from "./difference";
import type { ReadRole } from "./features";
import type { ReadBackend, ReadFarm } from "./read";

/**
 * What connections experience that are under way. The kernel asks nat chains about a connection's first packet alone, and
 * translates the others by the connection's entry in connection tracking: so rules decide about new connections only.
 * Guards and the accepts in FORWARD are asked about every packet. Where the gateway has the conntrack command, the tool deletes two
 * kinds of entries behind an apply: untranslated ones to a new service, and those of UDP flows that bear a mark no rule has any more.
 *
 * The kernel takes connection tracking and NAT off a network namespace with the last rule that needs them, and then
 * translates nothing, whatever entries there are (nf_ct_netns_put, nf_nat_unregister_fn; tried on kernel 6.18).
 */
export function sayEstablished(difference: Difference): string[] {
  const { before, after, services, moves } = difference;
  const added = services.added.filter((service) => moves.from[service] === undefined);
  const left = services.removed.filter((service) => moves.to[service] === undefined);
  const moving = added.length < services.added.length || left.length < services.removed.length;
  return [
    ...(before && after && services.kept.length > 0 ? sayKept(before, after, difference) : []),
    ...(after?.algorithm === "roundRobin" && before ? ["The turns start anew."] : []),
    ...(moving
      ? [
          "A service that moves between farms keeps its established connections where they are; only new ones meet the other farm's rules.",
        ]
      : []),
    ...(added.length > 0
      ? [
          "Connections to an added service that are under way untranslated: the gateway forgets them, and their next packet counts as a new " +
            "connection; without the conntrack command there the guard drops them until their entry expires.",
        ]
      : []),
    ...(left.length > 0 ? sayLeft(difference) : []),
  ];
}

/** Of services that leave: with their farm, or without. */
function sayLeft({ before, after, services }: Difference): string[] {
  const udp = services.removed.some((service) => / (udp|all) /.test(service));
  return [
    "New connections to a removed service meet neither translation nor guard: the gateway's own rules and routes decide.",
    ...(!after && before?.onRemoval === "cut"
      ? [
          "Its established connections are cut: the gateway forgets them (if it has the conntrack command), and what still comes of them meets the gateway's own rules.",
        ]
      : [
          "Its established connections keep their entry: the kernel translates by it as long as other rules of the gateway use NAT (another farm's, " +
            "a masquerade), and may stop when the last NAT rule leaves. The farm no longer opens FORWARD for them: a FORWARD that drops by default ends them.",
          ...(!after && udp
            ? ["Its UDP flows are forgotten (if the gateway has the conntrack command)."]
            : []),
        ]),
  ];
}

/** Of services that stay. */
function sayKept(before: ReadFarm, after: ReadFarm, { services, backends }: Difference): string[] {
  const udp = services.kept.some(({ protocol }) => protocol === "udp" || protocol === "all");
  const leave = backends.some((one) => !one.after);
  const cut = leave && after.onRemoval === "cut";
  const marked = backends.some((one) => one.before && one.after && one.before.mark !== one.after.mark);
  const becomes = (role: ReadRole) =>
    backends.some((one) => one.before?.role !== role && one.after?.role === role);
  return [
    ...(cut
      ? [
          `Connections of a backend that leaves are cut: the gateway forgets them and ${after.looseTcp ? "balances what still comes of them anew" : "drops their packets"}` +
            `${udp && !after.looseTcp ? "; UDP flows are chosen for again" : ""} (if it has the conntrack command).`,
        ]
      : []),
    `${cut ? "Other established" : "Established"} connections keep their backend and the source address that it sees: connection tracking holds both, and no rule chooses again.`,
    ...(leave && !cut
      ? [
          udp
            ? "TCP connections of a backend that leaves go on to it until they end; its UDP flows are chosen for again (if the gateway has the conntrack command)."
            : "Those of a backend that leaves go on to it until they end; it gets no new ones.",
        ]
      : []),
    ...(becomes("drain") ? [sayDrain(after)] : []),
    ...(becomes("standby") ? ["A backend that stands by keeps its connections until they end."] : []),
    ...(marked
      ? [
          udp
            ? "TCP connections that bear an old mark keep it until they end; UDP flows that do are chosen for again (if the gateway has the conntrack command)."
            : "Connections that bear an old mark keep it until they end.",
        ]
      : []),
    ...(before.dataPlane === after.dataPlane
      ? []
      : ["Both data planes share the kernel's connection tracking: the change ends no connection."]),
    ...sayAsked(before, after, backends),
  ];
}

function sayDrain({ affinity, pins }: ReadFarm): string {
  const clients = [
    ...(affinity ? ["the clients that affinity remembers"] : []),
    ...(pins.length > 0 ? ["those that are pinned to it"] : []),
  ];
  const too = clients.length === 0 ? "" : `, and gets ${clients.join(" and ")}`;
  return `A backend that drains keeps its connections until they end${too}.`;
}

/** Of rules that are asked about a connection's first packet, and may be thought to be about all. */
function sayAsked(before: ReadFarm, after: ReadFarm, backends: Difference["backends"]): string[] {
  const served = after.allow === undefined ? undefined : new Set(after.allow);
  const denied = new Set(before.deny);
  const narrower =
    after.deny.some((network) => !denied.has(network)) ||
    (served !== undefined && (before.allow?.some((network) => !served.has(network)) ?? true));
  return [
    ...(narrower
      ? ["Established connections of clients that are not served any more go on: lists are about new ones."]
      : []),
    ...sayCounts(before, after, backends),
    ...(before.helper === after.helper
      ? []
      : ["A helper comes with a connection's first packet: established ones go on with what they have."]),
  ];
}

/**
 * The kernel counts the connections that a rule has seen. A set of nftables keeps them as long as its limit is the same; a rule of
 * iptables is made anew by every change (tried on kernel 6.18, both variants).
 */
function sayCounts(before: ReadFarm, after: ReadFarm, backends: Difference["backends"]): string[] {
  const limits = (farm: ReadFarm, backend: ReadBackend | undefined) => backend && limitOf(farm, backend);
  const changed = [
    [before.limits.connections ?? "none", after.limits.connections],
    ...backends.map((one) => [limits(before, one.before), limits(after, one.after)]),
  ].some(([old, now]) => old !== undefined && typeof now === "number" && old !== now);
  const limited =
    after.limits.connections !== undefined || after.backends.some((one) => one.maxConnections !== undefined);
  if (changed)
    return [
      "A limit of connections at a time that changes counts from zero: those under way are neither counted nor cut.",
    ];
  return limited && after.dataPlane !== "nftables"
    ? [
        "Limits of connections at a time count from zero, as after every change of iptables' rules: those under way are neither counted nor cut.",
      ]
    : [];
}
