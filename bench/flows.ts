/** Samples of what packets cost: one rule set, one short burst from one CPU. */

import type { Bed } from "./bed";
import type { Sample } from "./harness/rounds";
import type { PacketCost } from "./road";
import type { Scenery } from "./rules/scenery";
import type { Subject } from "./rules/subjects";

/**
 * A new flow each packet. Few enough that the table of connections stays less than a quarter full, so that its chains are as short
 * for the last flow as for the first; the first 4,096 packets are not counted: they fill caches and the slabs of the kernel.
 */
const NEW_FLOWS = { packets: 60_000, seconds: 1 };
/** 256 flows that were answered, over and over. */
const ESTABLISHED = { packets: 100_000, seconds: 1, established: 256 };
const QUICK = { packets: 8192, seconds: 0.2, warm: 1024 };

/** @param dial - All farms in turn, or always the last. */
export async function newFlow(
  bed: Bed,
  subject: Subject,
  scenery: Scenery,
  { quick, dial }: { quick: boolean; dial: "all" | "last" },
): Promise<Sample> {
  const road = await bed.with(subject, scenery);
  const { protocol, farms } = scenery;
  const dialled = dial === "all" ? { services: farms } : { service: farms - 1 };
  return sampleOf(bed, await road.packets({ ...NEW_FLOWS, protocol, ...dialled, ...(quick && QUICK) }));
}

export async function establishedFlow(
  bed: Bed,
  subject: Subject,
  scenery: Scenery,
  { quick, replies }: { quick: boolean; replies: boolean },
): Promise<Sample> {
  const road = await bed.with(subject, scenery);
  const { protocol, farms } = scenery;
  return sampleOf(
    bed,
    await road.packets({ ...ESTABLISHED, protocol, services: farms, replies, ...(quick && QUICK) }),
  );
}

function sampleOf(bed: Bed, { cpuMedian, wallMedian }: PacketCost): Sample {
  return bed.measuredBy === "cpu" ? { value: cpuMedian, clock: wallMedian } : { value: wallMedian };
}
