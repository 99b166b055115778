import type { Plan } from "../plan/plan";
import { parseAddress } from "../spec/address";
import { isPort } from "../spec/ports";
import { type Problem, SpecError, show } from "../spec/problem";
import type { Algorithm } from "../spec/types";
import { checkMemory, checkOver, problem, rememberedBy } from "./check-memory";
import type { Arrival, Packet } from "./packet";

const FIELDS = [
  "source",
  "destination",
  "protocol",
  "sourcePort",
  "destinationPort",
  "interface",
  "from",
  "state",
  "mark",
  "syn",
  "affinity",
  "over",
  "draw",
  "turn",
];

/**
 * @param plan of the farm that the packet meets
 * @throws SpecError with every problem of the packet, each with its field, the value and what would be right
 */
export function checkPacket(packet: unknown, plan: Plan): Arrival {
  if (typeof packet !== "object" || packet === null || Array.isArray(packet))
    throw new SpecError("packet", [
      { path: [], text: `${show(packet)} is not an object; its fields are ${FIELDS.join(", ")}` },
    ]);
  const given = packet as Packet;
  const problems = [
    ...Object.keys(given)
      .filter((field) => !FIELDS.includes(field))
      .map((field) => problem(field, `is not a field here; there are ${FIELDS.join(", ")}`)),
    ...checkAddresses(given),
    ...checkPorts(given),
    ...checkEntrance(given, plan),
    ...checkConnection(given),
    ...checkMemory(given, plan),
    ...checkOver(given, plan),
    ...checkChoice(given, plan),
  ];
  if (problems.length > 0) throw new SpecError("packet", problems);

  const { family, text: destination } = parseAddress(given.destination)!;
  return {
    family,
    source: parseAddress(given.source)!.text,
    destination,
    protocol: given.protocol,
    sourcePort: given.sourcePort,
    port: given.destinationPort,
    interface: given.interface,
    from: given.from ?? "client",
    state: given.state ?? "new",
    mark: given.mark ?? 0,
    syn: given.protocol === "tcp" && (given.syn ?? (given.state ?? "new") === "new"),
    remembered: rememberedBy(given, plan),
    over: new Set(given.over),
    anyClient: false,
  };
}

function checkAddresses(packet: Packet): Problem[] {
  const [source, destination] = [packet.source, packet.destination].map((value) =>
    typeof value === "string" ? parseAddress(value) : undefined,
  );
  const problems = (["source", "destination"] as const)
    .filter((field) => (field === "source" ? source : destination) === undefined)
    .map((field) =>
      packet[field] === undefined
        ? problem(field, "is missing; give an IP address")
        : problem(
            field,
            `${show(packet[field])} is not an IP address; write it as text, such as 203.0.113.10`,
          ),
    );
  if (source && destination && source.family !== destination.family)
    problems.push(
      problem(
        "source",
        `${show(packet.source)} is of another address family than the destination; give one of its family`,
      ),
    );
  return problems;
}

function checkPorts({ protocol, sourcePort, destinationPort }: Packet): Problem[] {
  if (typeof protocol !== "string" || !/^[a-z][a-z0-9-]{0,31}$/.test(protocol) || protocol === "all")
    return [
      problem(
        "protocol",
        `${protocol === undefined ? "is missing" : `${show(protocol)} is not a packet's protocol`}; give tcp, udp, sctp, or another one such as icmp`,
      ),
    ];
  const ported = ["tcp", "udp", "sctp"].includes(protocol);
  return Object.entries({ sourcePort, destinationPort }).flatMap(([field, value]) => {
    if (value === undefined)
      return ported && field === "destinationPort" ? [problem(field, `is missing; ${protocol} has one`)] : [];
    if (!ported)
      return [problem(field, `${show(value)} stands beside ${protocol}, which has no ports; leave it out`)];
    return isPort(value)
      ? []
      : [problem(field, `${show(value)} is not a port; a port is between 1 and 65535`)];
  });
}

function checkEntrance({ interface: enters, from }: Packet, plan: Plan): Problem[] {
  if (from !== undefined && from !== "client" && from !== "gateway")
    return [problem("from", `${show(from)} is not one of client, gateway`)];
  if (enters !== undefined && (typeof enters !== "string" || enters === ""))
    return [
      problem("interface", `${show(enters)} is not an interface's name; write it as text, such as eth0`),
    ];
  if (from === "gateway" && enters !== undefined)
    return [
      problem(
        "interface",
        `${show(enters)} stands beside from: "gateway", whose packets enter nowhere; leave it out`,
      ),
    ];
  if (from !== "gateway" && enters === undefined && plan.interface !== undefined)
    return [
      problem(
        "interface",
        `is missing; the farm balances only what enters at ${plan.interface}: give where this packet does`,
      ),
    ];
  return [];
}

function checkConnection({ state, mark, protocol, syn }: Packet): Problem[] {
  const problems: Problem[] = [];
  if (syn !== undefined && typeof syn !== "boolean")
    problems.push(problem("syn", `${show(syn)} is not true or false`));
  else if (syn !== undefined && protocol !== "tcp")
    problems.push(problem("syn", `${syn} goes with tcp; leave it out`));
  if (state !== undefined && !["new", "established", "invalid"].includes(state))
    problems.push(problem("state", `${show(state)} is not one of new, established, invalid`));
  if (mark !== undefined && !(Number.isInteger(mark) && mark >= 0 && mark <= 0xffffffff))
    problems.push(problem("mark", `${show(mark)} is not a mark; a mark is between 0 and 0xffffffff`));
  else if (state === "invalid" && mark !== undefined)
    problems.push(
      problem("mark", `${show(mark)} stands beside state: "invalid", which has no connection; leave it out`),
    );
  return problems;
}

/** What the farm chooses by, where a number for another way of choosing was given. */
const CHOOSES: Record<Algorithm, string> = {
  random: "this farm draws: give draw, 0 to 1",
  roundRobin: "this farm's backends take turns: give turn",
  sourceHash: "this farm hashes the source address: leave it out",
  flowHash: "this farm hashes addresses and ports: give sourcePort",
};

function checkChoice({ draw, turn }: Packet, { algorithm }: Plan): Problem[] {
  const problems: Problem[] = [];
  if (draw !== undefined) {
    if (algorithm !== "random")
      problems.push(problem("draw", `${show(draw)} goes with random; ${CHOOSES[algorithm]}`));
    else if (typeof draw !== "number" || !(draw >= 0 && draw <= 1))
      problems.push(problem("draw", `${show(draw)} is not between 0 and 1`));
  }
  if (turn !== undefined) {
    if (algorithm !== "roundRobin")
      problems.push(problem("turn", `${show(turn)} goes with roundRobin; ${CHOOSES[algorithm]}`));
    else if (!Number.isSafeInteger(turn) || turn < 0)
      problems.push(problem("turn", `${show(turn)} is not a whole number of 0 or more`));
  }
  return problems;
}
