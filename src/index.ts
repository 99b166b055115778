/** `LoadBalancerFarm` for Pulumi programs. The pure part is `pulumi-netfilter-lb/core`. */
export * from "./core";
export {
  type AffinityArgs,
  type BackendArgs,
  type CapacityArgs,
  type ConfirmArgs,
  type ConnectionArgs,
  Drift,
  type FarmArgs,
  type GatewayArgs,
  type LimitsArgs,
  type ListenerArgs,
  type LoadBalancerFarmArgs,
  type LoadBalancerFarmsArgs,
  type LogArgs,
  type PinArgs,
  type SourceLimitArgs,
  Tool,
} from "./farm/args";
export { LoadBalancerFarm } from "./farm/farm";
export { LoadBalancerFarms } from "./farm/farms";
