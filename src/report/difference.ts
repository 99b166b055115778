import type { Fraction } from "../plan/fraction";
import type { Family } from "../spec/address";
import type { Change, ServiceMoves } from "./comparison";
import type { Moved } from "./moved";
import type { PinChange } from "./pins";
import type { ReadBackend, ReadFarm } from "./read";
import type { ServiceChange } from "./services";

/** A comparison with exact numbers in it, for words. */
export interface Difference {
  before: ReadFarm | undefined;
  after: ReadFarm | undefined;
  services: ServiceChange;
  backends: (Change<ReadBackend> & { key: string })[];
  moved: Moved[];
  forgotten: Forgotten[];
  pins: PinChange;
  moves: Required<ServiceMoves>;
}

/** The part of what affinity remembers that it forgets. */
export interface Forgotten {
  family: Family;
  fraction: Fraction;
}
