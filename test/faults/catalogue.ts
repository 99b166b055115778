/** Faults, races and hostile input that a gateway must survive, by number. Each has a test that does it for real. */

export interface Chapter {
  readonly title: string;
  readonly faults: Readonly<Record<number, string>>;
}

export const CATALOGUE: readonly Chapter[] = [
  {
    title: "Applying",
    faults: {
      1: "kill −9 at many points of an apply",
      2: "SSH cut at each tenth of the payload",
      3: "cut after the commit, before the reply",
      4: "reboot in mid-apply",
      5: "reboot after success",
      6: "a bad nat section",
      7: "the kernel refuses a rule",
      8: "disk full",
      9: "read-only /etc or /run",
      10: "xtables lock held",
      11: "old iptables",
      12: "old nft, a kernel without a feature",
      13: "missing modules",
      14: "legacy and nft mixed",
      15: "nft absent",
      16: "netlink ENOBUFS after the commit",
      17: "out of memory",
      18: "clock jump during a confirm window",
      19: "rules that would block SSH",
      20: "a rollback that fails is loud",
    },
  },
  {
    title: "Several hands and drift",
    faults: {
      21: "two operators at once",
      22: "stale lock",
      23: "pulumi cancel",
      24: "one of three gateways down",
      25: "a foreign flush ruleset",
      26: "firewalld, ufw or Docker reload",
      27: "only nat flushed",
      28: "a hand-edited rule",
      29: "the same VIP and port in two farms",
      30: "mark overlap",
      31: "a delete leaves others byte-identical",
      32: "a data plane switched",
    },
  },
  {
    title: "Traffic",
    faults: {
      33: "TCP on a removed backend, by policy",
      34: "stale UDP flows",
      35: "no backend: refused at once",
      36: "conntrack full",
      37: "SYN flood",
      38: "limits at their boundary",
      39: "round robin across re-applies",
      40: "share of hash clients that move",
      41: "two DNS queries from one socket",
      42: "hairpin",
      43: "fragments, path MTU",
      44: "asymmetric return",
    },
  },
  {
    title: "Security",
    faults: {
      45: "the gateway is no open router",
      46: "a port not published stays closed",
      47: "rp_filter",
      48: "route_localnet",
      49: "IPv6 not left open",
      50: "wrong host key refused",
      51: "no key in state, logs or argv",
      52: "hostile names",
      53: "names that collide after shortening",
      54: "bad address, port, weight",
      55: "sudoers needs one command only",
      56: "that command refuses foreign rules",
      57: "staging symlink",
      58: "a gateway that answers garbage",
      59: "banner noise on the channel",
      60: "a preview writes nothing",
    },
  },
];

export const TITLES: ReadonlyMap<number, string> = new Map(
  CATALOGUE.flatMap(({ faults }) =>
    Object.entries(faults).map(([number, title]) => [Number(number), title] as const),
  ),
);

/** Faults that cannot be done on a machine such as the tests run on, with the reason. They count as neither held nor failed. */
export const NOT_SHOWN: Readonly<Record<number, string>> = {};
