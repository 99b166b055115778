/** The SSH connection breaks while the rule set is on its way. */

import { Client, type ClientChannel } from "ssh2";
import { afterEach, expect } from "vitest";
import { applyArguments, TOOL } from "../host/support";
import { SshServer } from "../support/lab/ssh";
import { randomNumbers } from "../traffic/random-farm";
import { BareGateway, IPTABLES, NFTABLES } from "./bare-gateway";
import { fault, sweep } from "./fault";

const SEED = Number(process.env.SEED ?? 1);

let gateway: BareGateway;
let sshd: SshServer;
afterEach(async () => {
  await sshd.stop();
  await gateway.end();
});

for (const variant of [NFTABLES, IPTABLES])
  fault(2, variant.label, async () => {
    gateway = await BareGateway.start(variant, { backends: 40 });
    sshd = await SshServer.create(() => gateway.machine.running);
    const { length } = gateway.sets.new;
    const random = randomNumbers(SEED);
    const tenths = [...Array(10).keys()].map((tenth) => Math.floor((length * tenth) / 10));
    const others = [...Array(sweep(2, 100))].map(() => Math.floor(random() * length));
    let saw = "";
    for (const [turn, bytes] of [...tenths, ...others].entries()) {
      saw = await cutAfter(bytes, turn % 2 === 0);
      expect(saw).toContain(
        `arrived with ${bytes} bytes instead of ${length}: was the connection cut? Run this again`,
      );
      await gateway.expectHolds("old");
    }
    await gateway.expectConverges();
    return {
      done: `SSH cut at each tenth of a payload of ${length} bytes, and at ${others.length} random bytes (seed ${SEED}), by the client and by the server in turn`,
      held: `${tenths.length + others.length} of ${tenths.length + others.length}: the old set, whole, in the kernel and on disk; the next apply converges`,
      saw: `the engine says that the connection broke; the tool, in the gateway's own record: ${saw}`,
    };
  });

/** Sends so much of the new set and breaks the connection. @returns what the tool said to nobody */
async function cutAfter(bytes: number, byClient: boolean): Promise<string> {
  const { set, words } = { set: gateway.sets.new, words: applyArguments("web", gateway.sets.new) };
  const client = new Client();
  const { host, port, user: username, privateKey } = sshd.connection();
  await new Promise<void>((resolve, reject) => {
    client.on("ready", resolve).on("error", reject).connect({ host, port, username, privateKey });
  });
  client.removeAllListeners("error").on("error", () => {});
  await gateway.sh("rm -f /run/said /run/code");
  const channel = await new Promise<ClientChannel>((resolve, reject) => {
    const command = `dash ${TOOL} ${words.join(" ")} 2>/run/said; echo $? >/run/code`;
    client.exec(`: >/run/began; ${command}`, (error, channel) => (error ? reject(error) : resolve(channel)));
  });
  channel.on("error", () => {});
  await new Promise((resolve) => channel.write(set.slice(0, bytes), resolve));
  await gateway.sh("until [ -e /run/began ]; do sleep 0.02; done; rm /run/began; sleep 0.05");
  if (byClient) client.destroy();
  else sshd.cut();
  await gateway.sh("until [ -s /run/code ]; do sleep 0.02; done");
  client.destroy();
  expect(await gateway.sh("cat /run/code")).toBe("4\n");
  return (await gateway.sh("cat /run/said")).trim();
}
