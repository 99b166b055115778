import type { Difference } from "./comparison";
import { sayService } from "./services";

/**
 * What connections experience that are under way. The kernel asks nat chains about a connection's first packet alone, and
 * translates the others by the connection's entry in connection tracking: so rules decide about new connections only.
 * Guards and the accepts in FORWARD are asked about every packet. Where the gateway has the conntrack command, the tool deletes two
 * kinds of entries behind an apply: untranslated ones to a new service, and those of UDP flows that bear a mark no rule has any more.
 *
 * The kernel takes connection tracking and NAT off a network namespace with the last rule that needs them, and then
 * translates nothing, whatever entries there are (nf_ct_netns_put, nf_nat_unregister_fn; tried on kernel 6.18).
 */
export function sayEstablished({ before, after, services, backends, moves }: Difference): string[] {
  const removed = backends.filter((one) => !one.after);
  const marked = backends.filter((one) => one.before && one.after && one.before.mark !== one.after.mark);
  const added = services.added.filter((service) => moves.from[service] === undefined);
  const left = services.removed.filter((service) => moves.to[service] === undefined);
  const moving = added.length < services.added.length || left.length < services.removed.length;
  const kept = before && after && services.kept.length > 0;
  const udp = kept && services.kept.some((service) => / (udp|all) /.test(sayService(service)));
  return [
    ...(kept
      ? [
          "Established connections keep their backend and the source address that it sees: connection tracking holds both, and no rule chooses again.",
        ]
      : []),
    ...(kept && removed.length > 0
      ? [
          udp
            ? "TCP connections of a removed backend go on to it until they end; its UDP flows are chosen for again (if the gateway has the conntrack command)."
            : "Those of a removed backend go on to it until they end; it gets no new ones.",
        ]
      : []),
    ...(kept && marked.length > 0
      ? [
          udp
            ? "TCP connections that bear an old mark keep it until they end; UDP flows that do are chosen for again (if the gateway has the conntrack command)."
            : "Connections that bear an old mark keep it until they end.",
        ]
      : []),
    ...(kept && before.dataPlane !== after.dataPlane
      ? ["Both data planes share the kernel's connection tracking: the change ends no connection."]
      : []),
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
    ...(left.length > 0
      ? [
          "New connections to a removed service meet neither translation nor guard: the gateway's own rules and routes decide.",
          "Its established connections keep their entry: the kernel translates by it as long as other rules of the gateway use NAT (another farm's, " +
            "a masquerade), and may stop when the last NAT rule leaves. The farm no longer opens FORWARD for them: a FORWARD that drops by default ends them.",
        ]
      : []),
  ];
}
