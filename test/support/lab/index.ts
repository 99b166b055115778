export type { HeldConnection, Host, ServeOptions, Steady } from "../traffic/host";
export type {
  Answer,
  ConnectOptions,
  ConnectResult,
  SteadyOptions,
  SteadyResult,
  Target,
} from "../traffic/types";
export type { Gateway, GatewayOptions } from "./gateway";
export { Lab, type LabOptions } from "./lab";
export type { Outcome } from "./process";
export type { Connection } from "./ssh";
