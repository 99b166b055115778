import { PREFIX } from "../iptables/render-rule";
import type { IptRule } from "../iptables/ruleset";
import type { Met } from "./iptables-match";
import { refusalOf } from "./iptables-refusal";
import { type DropReason, type Effect, withBits } from "./trace";

/** Does to a packet what a rule that matches it says. A hash is the tracer's to work out. */
export function obey(rule: IptRule, met: Met): Effect | undefined {
  const { packet, end } = met;
  const { target } = rule;
  switch (target.kind) {
    case "drop":
      end.dropped = met.refused ?? refusalOf(rule) ?? foundNone(met);
      return { kind: "drop" };
    case "accept":
      return { kind: "accept" };
    case "reject":
      end.rejected = target.with === "tcp-reset" ? "tcp-reset" : "port-unreachable";
      return { kind: "reject", with: end.rejected };
    case "return":
      met.refused = refusalOf(rule);
      return { kind: "return" };
    case "goto":
      return { kind: "goto", chain: PREFIX + target.to };
    case "log":
      return { kind: "log", prefix: target.prefix };
    case "helper":
      return { kind: "helper", helper: target.name };
    case "addToSet":
      return { kind: "remember", seconds: met.sets.get(target.set)!.timeout! };
    case "setMark":
      return setPacketMark(met, withBits(met.mark, target.mark, target.mask));
    case "restoreMark":
      return setPacketMark(met, withBits(met.mark, end.mark, target.mask));
    case "setConnmark":
      return setConnectionMark(met, withBits(end.mark, target.mark, target.mask));
    case "saveMark":
      return setConnectionMark(met, withBits(end.mark, met.mark, target.mask));
    case "dnat":
      end.translation = { address: target.address, port: target.port };
      return { kind: "translate", to: { address: target.address, port: target.port ?? packet.port } };
    case "snat":
      end.source = { kind: "address", address: target.address };
      return { kind: "source", source: end.source };
    case "masquerade":
      end.source = { kind: "masquerade" };
      return { kind: "source", source: end.source };
    case "hashMark":
      throw new Error("a hash was not worked out");
    default:
      throw target satisfies never;
  }
}

/**
 * Why a guard finds a packet that the farm did not refuse: no backend was there for it, or nat was not asked, or in layout zevenet its
 * connection had a mark already, so that no backend was chosen.
 */
function foundNone({ packet, mark }: Met): DropReason {
  return packet.state === "new" && mark === 0 ? "noBackend" : "guard";
}

export function setPacketMark(met: Met, after: number): Effect {
  const before = met.mark;
  if (isTracked(met)) met.mark = after;
  return { kind: "mark", of: "packet", before, after: met.mark };
}

function setConnectionMark(met: Met, after: number): Effect {
  const before = met.end.mark;
  if (isTracked(met)) met.end.mark = after;
  return { kind: "mark", of: "connection", before, after: met.end.mark };
}

/** A packet that conntrack finds INVALID belongs to no connection, so there is no mark to copy. */
function isTracked({ packet }: Met): boolean {
  return packet.state !== "invalid";
}
