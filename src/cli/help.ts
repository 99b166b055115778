export const HELP = `netfilter-lb explains load-balancer farms and what a change does to them. It reads, and changes nothing.

  netfilter-lb explain PROGRAM.json --packet JSON [--json] [--all]
      What happens to a packet, rule by rule.
      PROGRAM.json   { "name": "web", "spec": { "listeners": …, "backends": … }, "target": { "dataPlane": "nftables" } }
      --packet       { "source", "destination", "protocol", "sourcePort", "destinationPort", "interface",
                       "from": "client" or "gateway", "state": "new", "established" or "invalid", "mark",
                       "syn": whether a tcp packet opens a connection,
                       "affinity": the backend that the gateway remembers for the client, "10.0.0.3:80",
                       "over": limits that are exhausted, of ["connections", "backendConnections", "rate", "sourceRate"],
                       "draw": 0 to 1 (algorithm random) or "turn": 0, 1 … (roundRobin) }
      --all          also the rules that do not match
      --json         the whole as data

  pulumi preview --json | netfilter-lb report [--markdown]
      What a preview would change for traffic, for every farm and gateway.
      --markdown     for a comment on a pull request: at most 64,000 characters

  netfilter-lb tool
      The tool that a gateway runs, a shell script, for machines whose owner installs it (tool: "preinstalled").

Exit codes: 0 done, a preview that changes nothing included; 1 what was read is wrong; 2 usage.
`;
