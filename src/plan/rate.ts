import type { RateLimit } from "./plan";

/** Seconds without a connection after which a bucket is forgotten, and so full: never before it would be full again. */
export function idleTimeout({ perSecond, burst }: RateLimit): number {
  return Math.max(60, Math.ceil(burst / perSecond));
}
