export type { Gateway, GatewayOptions } from "./gateway";
export { Lab, type LabOptions } from "./lab";
export type { Outcome } from "./process";
export type { Connection } from "./ssh";
