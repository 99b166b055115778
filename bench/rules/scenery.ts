/** What every rule set of a measurement has to do, whoever wrote it. */

import type { Algorithm } from "../../src/core";
import { backendsUpTo, type Protocol, serviceAt } from "../road";

export interface Scenery {
  readonly protocol: Protocol;
  /** Services on the gateway, each a farm of its own over the same backends, so that only their number differs. */
  readonly farms: number;
  /** Backends of each, dialled at the port that the client chose. */
  readonly backends: number;
  /** Of each backend. Only our rules and the naive ones know weights. @default all equal */
  readonly weights?: readonly number[];
  /** Of our rules. @default random */
  readonly algorithm?: Algorithm;
}

/** Every service a farm. */
export interface Service {
  readonly address: string;
  readonly port: number;
}

export function servicesOf({ farms }: Scenery): Service[] {
  return Array.from({ length: farms }, (_, k) => serviceAt(k));
}

export function backendsOf({ backends }: Scenery): string[] {
  return backendsUpTo(backends);
}
