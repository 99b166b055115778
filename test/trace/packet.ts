import type { Rational } from "./rational";

/** The first packet of a connection, as it arrives at a gateway. */
export interface Packet {
  address: string;
  protocol: "tcp" | "udp" | "sctp" | "icmp";
  /** Undefined for a protocol without ports. */
  port: number | undefined;
  /** Where it enters; undefined: the gateway itself starts the connection. */
  enters: string | undefined;
  /** What the connection is marked with already. */
  connmark?: number;
}

/**
 * What becomes of it, in one line: `to 10.0.0.3:80 mark 0x20c from masquerade`, or one of the two others.
 * `untouched`: no rule of a farm had anything to do with it. `dropped`: a guard kept it from leaving untranslated.
 */
export type Outcome = string;

/** How likely each outcome is. They add up to one. */
export type Outcomes = Map<Outcome, Rational>;

export function translatedTo(
  address: string,
  port: number | undefined,
  mark: number,
  source: string,
): Outcome {
  const where =
    port === undefined ? address : address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  return `to ${where} mark 0x${mark.toString(16)} from ${source}`;
}
