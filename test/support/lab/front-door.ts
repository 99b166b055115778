/**
 * SSH that goes the way of a client's packets, so that a gateway's rules can shut it out.
 *
 * The lab's own way in ({@link SshServer}) passes by the gateway's netfilter. Here an sshd listens on the gateway's address
 * towards the clients, and the machine's loopback hands each connection to the lab's client, which dials an address that the
 * gateway's owner redirects there, as a port that is forwarded is: neither the engine nor sshd sees that address.
 */

import { spawn } from "node:child_process";
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { Gateway } from "./gateway";
import type { Lab } from "./lab";
import { plainEnvironment } from "./process";
import type { Connection } from "./ssh";

const SSHD_PORT = 22;
/** The port that is dialled. */
export const DOOR_PORT = 2222;

/** Standard input and output as a connection; the exit code says whether there was one. */
const DIAL = `
const [, host, port] = process.argv;
const socket = require("node:net").connect({ host, port: Number(port) }, () => {
  process.stdin.pipe(socket);
  socket.pipe(process.stdout);
});
socket.on("error", () => process.exit(1));
socket.on("close", () => process.exit(0));`;

export class FrontDoor {
  /** Dials that reached nobody. */
  refused = 0;
  /** Dials so far. */
  dials = 0;

  private constructor(
    private readonly lab: Lab,
    private readonly gateway: Gateway,
    private address: string,
  ) {}

  private readonly sockets = new Set<Socket>();
  private readonly server = createServer((socket) => this.accept(socket));

  static async open(lab: Lab, gateway: Gateway, address: string): Promise<FrontDoor> {
    const own = gateway.address();
    await gateway.sh(`/usr/sbin/sshd -f /etc/ssh/sshd_config -o ListenAddress=${own} -o Port=${SSHD_PORT} -o PidFile=none
      nft add table ip owner
      nft add chain ip owner doors '{ type nat hook prerouting priority -50; }'`);
    const door = new FrontDoor(lab, gateway, address);
    await door.moveTo(address);
    await new Promise<void>((resolve) => door.server.listen(0, "127.0.0.1", resolve));
    return door;
  }

  /** SSH comes in by another address from now on. */
  async moveTo(address: string): Promise<void> {
    this.address = address;
    await this.gateway.sh(`nft flush chain ip owner doors
      nft add rule ip owner doors ip daddr ${address} tcp dport ${DOOR_PORT} redirect to :${SSHD_PORT}`);
  }

  get connection(): Connection {
    return { ...this.gateway.connection, port: (this.server.address() as AddressInfo).port };
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private accept(socket: Socket): void {
    this.dials += 1;
    this.sockets.add(socket);
    const [command = "", ...args] = this.lab.client.namespace.enterNetwork;
    const dial = spawn(command, [...args, process.execPath, "-e", DIAL, this.address, String(DOOR_PORT)], {
      env: plainEnvironment,
      stdio: ["pipe", "pipe", "ignore"],
    });
    socket.pipe(dial.stdin);
    dial.stdout.pipe(socket);
    for (const stream of [socket, dial.stdin, dial.stdout]) stream.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.sockets.delete(socket);
      dial.kill();
    });
    dial.on("close", (code) => {
      if (code === 1) this.refused += 1;
      socket.destroy();
    });
  }
}
