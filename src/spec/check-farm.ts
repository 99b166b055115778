import { checkEnds } from "./check";
import { checkBalance } from "./check-balance";
import { checkClients } from "./check-clients";
import { checkLimits } from "./check-limits";
import { checkPins } from "./check-pins";
import { checkProtocols } from "./check-protocols";
import { knownOf, type Soundness } from "./entry";
import type { Problem } from "./problem";
import type { FarmSpec } from "./types";

/**
 * What no single field shows. Entries that are wrong in themselves, or not known yet, are passed over; the schema reports
 * those.
 *
 * @param spec a farm in which some entries may be wrong or pending
 */
export function checkFarm(spec: FarmSpec, sound: Soundness): Problem[] {
  const farm = knownOf(spec, sound);
  return [checkEnds, checkClients, checkBalance, checkPins, checkLimits, checkProtocols].flatMap((check) =>
    check(farm),
  );
}
