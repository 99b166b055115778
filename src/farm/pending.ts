import * as pulumi from "@pulumi/pulumi";
import { PENDING } from "../spec/schema";

/** A copy of what a user gave in which every Output or promise is `PENDING`: what can be checked at once. */
export function withPending(value: unknown): unknown {
  if (pulumi.Output.isInstance(value) || value instanceof Promise) return PENDING;
  if (Array.isArray(value)) return value.map(withPending);
  // A resource, put where its address was meant, leads in circles.
  if (typeof value === "object" && value !== null && !pulumi.Resource.isInstance(value))
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, withPending(entry)]));
  return value;
}
