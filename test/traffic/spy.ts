/** Rules on a host of the lab that count packets, or change what its own TCP sends. */

import type { Namespace } from "../support/lab/namespace";

/** Counts what arrives at a host, before anything there can drop it. */
export function arrivals(host: Namespace, match: string) {
  return rule(host, "prerouting", match);
}

/** Changes what leaves a host. */
export function bend(host: Namespace, match: string, changes: readonly string[]) {
  return rule(host, "output", match, changes);
}

let made = 0;

/** @param changes the first that matches is made */
export async function rule(
  host: Namespace,
  hook: "prerouting" | "input" | "forward" | "output",
  match: string,
  changes: readonly string[] = [],
) {
  made += 1;
  const table = `inet spy${made}`;
  await host.sh("nft -f -", {
    input: `table ${table} {
      counter seen { }
      chain here {
        type filter hook ${hook} priority ${hook === "input" ? 300 : -400}
        ${match} counter name seen
        ${changes.map((change) => `${match} ${change} accept`).join("\n")}
      }
    }\n`,
  });
  let ended: number | undefined;
  const packets = async () =>
    Number(/packets (\d+)/.exec(await host.sh(`nft list counter ${table} seen`))![1]);
  const end = async () => {
    if (ended === undefined) {
      ended = await packets();
      await host.sh(`nft delete table ${table}`);
    }
    return ended;
  };
  return { packets, end, [Symbol.asyncDispose]: async () => void (await end()) };
}
