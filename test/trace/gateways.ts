import { compile } from "../../src/core";
import type { Case } from "../spec/farms";
import { IptablesGateway } from "./iptables";
import { NftablesGateway } from "./nftables";
import type { Packet } from "./packet";

/** A gateway with this farm on it. */
export function gatewayOf({ name, spec, target }: Case): IptablesGateway | NftablesGateway {
  const { ruleSet } = compile(name, spec, target);
  return target.dataPlane === "nftables" ? new NftablesGateway(ruleSet) : new IptablesGateway(ruleSet);
}

/** A packet to each of the farm's services: the first and the last port of each, from a client and from the gateway. */
export function packetsTo({ spec, target }: Case): Packet[] {
  return spec.listeners.flatMap(({ address, protocol, port, ports }) => {
    const dialled = port !== undefined ? [port] : (ports ?? "1-65535").split(/[,-]/).map(Number);
    const entrances = target.interface === undefined ? ["eth9", undefined] : [target.interface];
    return entrances.flatMap((enters): Packet[] => {
      if (protocol !== "all") return dialled.map((port) => ({ address, protocol, port, enters }));
      return [
        { address, protocol: "icmp", port: undefined, enters },
        ...(["tcp", "udp", "sctp"] as const).map((protocol) => ({ address, protocol, port: 7, enters })),
      ];
    });
  });
}

/** Packets that are none of the farm's business, each in one respect. */
export function packetsBeside({ spec, target }: Case): Packet[] {
  const claimed = packetsTo({ name: "", spec, target })[0]!;
  const { protocol, port, ports } = spec.listeners[0]!;
  return [
    { ...claimed, address: claimed.address.includes(":") ? "2001:db8:ffff::11" : "203.0.113.11" },
    ...(target.interface === undefined
      ? []
      : [
          { ...claimed, enters: "eth9" },
          { ...claimed, enters: undefined },
        ]),
    ...(protocol === "all" ? [] : [{ ...claimed, protocol: "icmp" as const, port: undefined }]),
    ...(port === undefined && ports === undefined ? [] : [{ ...claimed, port: 60000 }]),
  ];
}
