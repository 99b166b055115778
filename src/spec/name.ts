import { createHash } from "node:crypto";

/**
 * A name that is safe as it stands in a shell, a file path, an nft identifier and an iptables chain. A doubled
 * separator is left to `shortName`, so that no name looks like a shortened one.
 */
const NAME = /^[A-Za-z][A-Za-z0-9]*(?:[_-][A-Za-z0-9]+)*$/;

const MAX_LENGTH = 63;

/**
 * Longest name that chains bear unshortened. iptables allows 28 characters a chain (XT_EXTENSION_MAXNAMELEN - 1):
 * `NFLB-`, the name, `.` and the 8 hex digits of a mark are 26.
 */
const CHAIN_LENGTH = 12;

/** Why `value` cannot name a farm or a gateway; undefined where it can. */
export function nameProblem(value: unknown): string | undefined {
  if (typeof value !== "string") return "is not a name; write it as text";
  if (value.length > MAX_LENGTH) return `has ${value.length} characters; ${MAX_LENGTH} are allowed`;
  if (!NAME.test(value)) return 'is not a name; use letters, digits and single "-" or "_", a letter first';
  return undefined;
}

/** A gateway's name may be its address too: it stands in stamps and file names, never in a chain. */
export function gatewayNameProblem(value: unknown): string | undefined {
  if (typeof value !== "string") return "is not a name; write it as text";
  if (value.length > 253) return `has ${value.length} characters; 253 are allowed`;
  if (!/^[A-Za-z0-9](?:[A-Za-z0-9._:-]*[A-Za-z0-9])?$/.test(value))
    return 'is not a name; use letters, digits, "-", ".", "_" and ":", a letter or digit first and last';
  return undefined;
}

/**
 * A farm's name as chains bear it: itself up to 12 characters, else 2 of it, `--`, and 8 hex digits of its SHA-256. One of
 * capitals alone is shortened too, because `NFLB-` and capitals are the chains that all farms share.
 */
export function shortName(name: string): string {
  if (name.length <= CHAIN_LENGTH && !/^[A-Z]+$/.test(name)) return name;
  return `${name.slice(0, 2)}--${createHash("sha256").update(name).digest("hex").slice(0, 8)}`;
}
