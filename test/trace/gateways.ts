import type { TargetSpec } from "../../src/core";
import { compile } from "../../src/core";
import { type Case, PLACE } from "../spec/farms";
import { IptablesGateway } from "./iptables";
import { NftablesGateway } from "./nftables";
import type { Packet } from "./packet";

/** A gateway with this farm on it. */
export function gatewayOf({ name, spec, target }: Case): IptablesGateway | NftablesGateway {
  return gatewayWith(compile(name, spec, target).ruleSet, target);
}

export function gatewayWith(ruleSet: string, target: TargetSpec): IptablesGateway | NftablesGateway {
  return target.dataPlane === "nftables" ? new NftablesGateway(ruleSet) : new IptablesGateway(ruleSet);
}

/** A packet to each of the farm's services: the first and the last port of each, from a client and from the gateway. */
export function packetsTo({ spec, target }: Case): Packet[] {
  return spec.listeners.flatMap(({ address, protocol, port, ports }) => {
    const dialled = port !== undefined ? [port] : (ports ?? "1-65535").split(/[,-]/).map(Number);
    const entrances = target.interface === undefined ? ["eth9", undefined] : [target.interface];
    return entrances.flatMap((enters): Packet[] => {
      const { source, stranger } = PLACE[address.includes(":") ? "ip6" : "ip"];
      const all = { address, enters, source: enters === undefined ? source : stranger };
      const ported = { ...all, sourcePort: 40_000 };
      if (protocol !== "all") return dialled.map((port) => ({ ...ported, protocol, port }));
      return [
        { ...all, protocol: "icmp", sourcePort: undefined, port: undefined },
        ...(["tcp", "udp", "sctp"] as const).map((protocol) => ({ ...ported, protocol, port: 7 })),
      ];
    });
  });
}

/** Packets that are none of the farm's business, each in one respect. */
export function packetsBeside({ spec, target }: Case): Packet[] {
  const claimed = packetsTo({ name: "", spec, target })[0]!;
  const { protocol, port, ports } = spec.listeners[0]!;
  return [
    { ...claimed, address: claimed.address.replace(/10$/, "11") },
    ...(target.interface === undefined
      ? []
      : [
          { ...claimed, enters: "eth9" },
          { ...claimed, enters: undefined },
        ]),
    ...(protocol === "all"
      ? []
      : [{ ...claimed, protocol: "icmp" as const, sourcePort: undefined, port: undefined }]),
    ...(port === undefined && ports === undefined ? [] : [{ ...claimed, port: 60000 }]),
  ];
}
