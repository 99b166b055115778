/** B7: what one `rules` resource does, over SSH: a change of one farm, and the same rule set again. */

import { compile, type FarmSpec } from "../src/core";
import { applyCommand } from "../src/host/commands";
import { installTool, ownerOf } from "../test/support/farms";
import { type Gateway, Lab } from "../test/support/lab";
import { output } from "../test/support/lab/process";
import type { Measurement } from "./harness/measurement";
import type { Figure } from "./harness/result";
import { type Contender, inRounds, type Sample } from "./harness/rounds";
import { farmsOf, nftablesText } from "./rules/ours";

const BACKENDS = [10, 100, 1000];
const FARM = "farm0";

export const overSsh: Measurement = {
  id: "B7",
  title: "One rules resource, over SSH",
  unit: "ms",
  axis: "backends",
  rounds: 11,
  async run(context) {
    const lab = await Lab.create({ gateways: ["ours", "by-hand"], backends: 1 });
    try {
      const ours = await Ssh.to(lab.gateway("ours"));
      const hand = await Ssh.to(lab.gateway("by-hand"));
      await installTool(lab.gateway("ours"));
      const figures: Figure[] = [];
      for (const backends of context.quick ? [10] : BACKENDS) {
        let last = "";
        let changes = 0;
        const apply = (text: string) => {
          last = text;
          return ours.run(applyCommand(FARM, ownerOf(lab.gateway("ours")), text, { sudo: false }), text);
        };
        const contender = (subject: string, sample: Contender["sample"], against?: Contender): Contender => ({
          subject,
          role: against ? "ours" : "baseline",
          at: backends,
          ...(against && { against }),
          sample,
        });
        // In one transaction, as a script would that knows nothing of what was.
        const anew = "table ip netfilter_lb\ndelete table ip netfilter_lb\n";
        const nft = contender("ssh nft -f", () =>
          hand.run("nft -f -", anew + nftablesText([ruleSet(backends, ++changes)])),
        );
        const change: Contender = {
          ...contender("a change", () => apply(ruleSet(backends, ++changes)), nft),
          target: { of: "ratio", atMost: 1.25 },
        };
        const again = contender(
          "the same rules again",
          async () => {
            if (last === "") await apply(ruleSet(backends, ++changes));
            const before = await stored(lab.gateway("ours"));
            const sample = await apply(last);
            if ((await stored(lab.gateway("ours"))) !== before)
              throw new Error("the same rule set again wrote to the disk");
            return sample;
          },
          nft,
        );
        figures.push(...(await inRounds([nft, change, again], context)));
      }
      return { figures };
    } finally {
      await lab.close();
    }
  },
};

/** Every change has another last backend. */
function ruleSet(backends: number, change: number): string {
  const [[, spec] = []] = farmsOf({ protocol: "tcp", farms: 1, backends });
  const { backends: all, ...rest } = spec as FarmSpec;
  const changed = [...all.slice(0, -1), { address: `10.1.0.${change}` }];
  return compile(FARM, { ...rest, backends: changed }, { dataPlane: "nftables" }).ruleSet;
}

/** Every file that the tool keeps, with the time of its last change. */
async function stored(gateway: Gateway): Promise<string> {
  return await gateway.sh("find /etc/netfilter-lb -exec stat -c '%n %i %y' {} + | sort");
}

/**
 * OpenSSH's client, a connection for each command, as the engine's provider has it. It sees the gateway's files, so that
 * its key is gone with the lab, but dials from this machine.
 */
class Ssh {
  private constructor(private readonly argv: readonly string[]) {}

  static async to(gateway: Gateway): Promise<Ssh> {
    const { host, port, user, privateKey, hostKey } = gateway.connection;
    await gateway.write("/run/key", privateKey, "600");
    await gateway.write("/run/hosts", `[${host}]:${port} ${hostKey}\n`);
    const options = ["UserKnownHostsFile=/run/hosts", "IdentitiesOnly=yes", "BatchMode=yes"];
    return new Ssh([
      ...["nsenter", `--mount=${gateway.namespace.path("mnt")}`],
      ...["ssh", "-F", "none", "-i", "/run/key", "-p", String(port)],
      ...options.flatMap((option) => ["-o", option]),
      `${user}@${host}`,
    ]);
  }

  async run(command: string, input: string): Promise<Sample> {
    const start = performance.now();
    await output([...this.argv, command], { input });
    return { value: performance.now() - start };
  }
}
