/** B5: all farms of a gateway at once, as at its boot. */

import { applyPath } from "./apply-path";
import type { Measurement } from "./harness/measurement";

export const fullApply: Measurement = {
  id: "B5",
  title: "All farms of a gateway at once, on the host",
  unit: "ms",
  axis: "farms",
  rounds: 7,
  async run(context) {
    const { full, notes } = await applyPath(context);
    return { figures: full, notes };
  },
};
