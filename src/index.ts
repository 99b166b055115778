/** `LoadBalancerFarm` for Pulumi programs. The pure part is `pulumi-netfilter-lb/core`. */
export * from "./core";
export {
  type BackendArgs,
  type ConnectionArgs,
  type GatewayArgs,
  type ListenerArgs,
  type LoadBalancerFarmArgs,
  Tool,
} from "./farm/args";
export { LoadBalancerFarm } from "./farm/farm";
