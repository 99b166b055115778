/** Full connection load on a farm, from every side, while a test changes it. */

import type { Lab } from "../support/lab";
import type { Steady } from "../support/traffic/host";
import type { SteadyOptions } from "../support/traffic/types";

export interface Carried {
  readonly count: number;
  /** How many got no answer, by stream and failure. */
  readonly lost: readonly string[];
  /** Answers that took a second or more: a packet was lost and sent again. */
  readonly slow: number;
}

/** What is dialled, by the name that a failure shows. */
export type Streams = Readonly<Record<string, Omit<SteadyOptions, "every">>>;

/** Streams of connections, each from many source addresses. */
export class Load {
  private constructor(private readonly streams: readonly (readonly [name: string, stream: Steady])[]) {}

  /** @param own - What the gateway itself dials. */
  static async start(lab: Lab, streams: Streams, own: Streams = {}): Promise<Load> {
    const gateway = lab.gateway();
    const started: (readonly [string, Steady])[] = [];
    for (const [name, options] of Object.entries(streams)) {
      const fromEach = lab.clientAddresses(gateway.name, SOURCES, options.to.includes(":") ? 6 : 4);
      started.push([name, await lab.client.steady({ fromEach, concurrency: 2, ...options })]);
    }
    for (const [name, options] of Object.entries(own))
      started.push([name, await gateway.traffic.steady({ concurrency: 1, ...options })]);
    return new Load(started);
  }

  async stop(): Promise<Carried> {
    const results = await Promise.all(
      this.streams.map(async ([name, stream]) => [name, await stream.stop()] as const),
    );
    return {
      count: results.reduce((sum, [, { count }]) => sum + count, 0),
      slow: results.reduce((sum, [, { slow }]) => sum + slow, 0),
      lost: results.flatMap(([name, { lost }]) =>
        lost.map(({ at, failure }) => `${name}: ${failure} at ${at} ms`),
      ),
    };
  }
}

/** No common divisor with the 64,512 source ports, so that a pair of both comes again only after all others. */
const SOURCES = 251;
