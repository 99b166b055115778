/** B6: one backend of one farm, beside many other farms. */

import { applyPath } from "./apply-path";
import type { Measurement } from "./harness/measurement";

export const oneEdit: Measurement = {
  id: "B6",
  title: "One backend of one farm, by the number of farms beside it, on the host",
  unit: "ms",
  axis: "farms",
  rounds: 7,
  async run(context) {
    const { edit } = await applyPath(context);
    return { figures: edit };
  },
};
