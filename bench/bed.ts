/** Where rule sets are tried: a road for each kind of kernel tables, since legacy tables stay once they were loaded. */

import { Road } from "./road";
import type { Scenery } from "./rules/scenery";
import type { Subject } from "./rules/subjects";

export class Bed {
  private constructor(
    private readonly road: Road,
    private readonly legacy: Road | undefined,
    /**
     * The sender's CPU time rather than the clock, so that other work of the machine does not count; except where the
     * kernel accounts the time of interrupts apart, and most of what a packet costs is not the sender's.
     */
    readonly measuredBy: "cpu" | "clock",
  ) {}

  static async open(): Promise<Bed> {
    const road = await Road.open();
    const legacy = await Road.open();
    const works = (await legacy.gateway.run(["iptables-legacy", "-t", "nat", "-S"])).code === 0;
    if (!works) await legacy.close();
    const { cpuLeast, wallLeast } = await road.packets({ protocol: "udp", packets: 32_768, seconds: 1 });
    return new Bed(road, works ? legacy : undefined, cpuLeast < 0.8 * wallLeast ? "clock" : "cpu");
  }

  /** Those of the subjects that this machine can load. */
  able(subjects: readonly Subject[]): Subject[] {
    return subjects.filter(({ loader }) => loader !== "iptables-legacy" || this.legacy);
  }

  /** The road with these rules on its gateway, and no connections. */
  async with(subject: Subject, scenery: Scenery): Promise<Road> {
    return await this.load(subject, subject.text(scenery));
  }

  async load({ name, loader }: Pick<Subject, "name" | "loader">, text: string): Promise<Road> {
    const road = loader === "iptables-legacy" ? this.legacy : this.road;
    if (!road) throw new Error(`${name}: there is no iptables-legacy here`);
    const { gateway } = road;
    if (loader === "iptables-legacy") await gateway.sh("iptables-legacy-restore", { input: text });
    else {
      await gateway.sh("nft -f -", {
        input: loader === "nft" ? `flush ruleset\n${text}\n` : "flush ruleset\n",
      });
      // A text may come to a table twice, as the tool's does in layout zevenet.
      if (loader === "iptables-nft") await gateway.sh("iptables-nft-restore --noflush", { input: text });
    }
    await road.forget();
    return road;
  }

  /** Real connections instead of raw packets. */
  async serve(): Promise<void> {
    await Promise.all([this.road, this.legacy].map((road) => road?.serve(true)));
  }

  async close(): Promise<void> {
    await Promise.all([this.road, this.legacy].map((road) => road?.close()));
  }
}
