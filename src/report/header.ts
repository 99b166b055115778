import { Fraction } from "../plan/fraction";
import { RULE_SET_VERSION } from "../plan/header";
import { FULL_MASK } from "../plan/mark";
import { type Family, parseAddress } from "../spec/address";
import { canonicalKey } from "../spec/check";
import { EVERY_PORT } from "../spec/ports";
import type { Service } from "../spec/service";
import type { OnRemoval, Protocol } from "../spec/types";
import type { ReadRole } from "./features";
import { type Lines, notARuleSet } from "./text";

/** The comment lines that open a rule set (docs/rule-set.md). */
export interface Header {
  name: string;
  shortName: string;
  /** `nftables`, `iptables nat` or `iptables zevenet`. */
  dataPlane: string;
  services: Service[];
  markMask: number;
  onRemoval: OnRemoval;
  backends: HeaderBackend[];
}

export interface HeaderBackend {
  family: Family;
  key: string;
  address: string;
  /** Undefined: the port that was dialled. */
  port: number | undefined;
  mark: number;
  /** Of the new connections of its address family. */
  share: Fraction;
  role: ReadRole;
}

/** `renderHeader`, backwards. */
export function parseHeader(lines: Lines): Header {
  const version = lines.need(/^# netfilter-lb rule set (\d+)$/)[1];
  if (Number(version) !== RULE_SET_VERSION) throw notARuleSet(`is of version ${version}`);
  const name = lines.need(/^# farm (\S+)$/)[1]!;
  const shortName = lines.need(/^# short-name (\S+)$/)[1]!;
  const dataPlane = lines.need(/^# data-plane (nftables|iptables nat|iptables zevenet)$/)[1]!;
  const services = lines
    .takeAll(/^# service (\S+) (tcp|udp|sctp|all) (?:(\d+)(?:-(\d+))?|-)$/)
    .map(parseService);
  if (services.length === 0) lines.fail();
  const mask = lines.take(/^# mark-mask (0x[0-9a-f]+)$/)?.[1];
  const onRemoval = lines.take(/^# on-removal (cut)$/)?.[1];
  const backends = lines
    .takeAll(/^# backend (\S+) (0x[0-9a-f]+) (\d+)\/(\d+)(?: (drain|standby))?$/)
    .map(parseBackend);
  return {
    name,
    shortName,
    dataPlane,
    services,
    markMask: mask === undefined ? FULL_MASK : Number(mask),
    onRemoval: (onRemoval as OnRemoval | undefined) ?? "keep",
    backends,
  };
}

function parseService([, address, protocol, from, to]: string[]): Service {
  const parsed = parseAddress(address!);
  if (!parsed) throw notARuleSet(`has a service at ${address}`);
  const ports = from === "" ? EVERY_PORT : { from: Number(from), to: Number(to || from) };
  return { family: parsed.family, address: parsed.text, protocol: protocol as Protocol, ports };
}

function parseBackend([, key, mark, share, total, role]: string[]): HeaderBackend {
  if (canonicalKey(key!) !== key) throw notARuleSet(`has a backend ${key}`);
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|([\d.]+)):(\d+)$/.exec(key!) ?? [];
  const { family, text: address } = parseAddress(bracketed ?? plain ?? key!)!;
  if (Number(share) > Number(total)) throw notARuleSet(`gives ${key} a share of ${share}/${total}`);
  return {
    family,
    key: key!,
    address,
    port: port === undefined ? undefined : Number(port),
    mark: Number(mark),
    share: Number(total) === 0 ? Fraction.ZERO : Fraction.of(Number(share), Number(total)),
    role: (role || "active") as ReadRole,
  };
}
