import { describe, expect, test } from "vitest";
import { formatProblem } from "../../src/spec/problem";
import { checkShape, PENDING, schemas } from "../../src/spec/schema";
import { FARM } from "./farms";

/** A connection holds keys: what is wrong with it is told without them. */

const HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBxY3";
const SECRET = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n";
const CONNECTION = { host: "198.51.100.7", hostKey: HOST_KEY };

function problemsOf(connection: unknown): string[] {
  const gateways = [{ connection, dataPlane: "nftables" }];
  return checkShape(schemas.args, { ...FARM, gateways }).map(formatProblem);
}

describe("a connection that the provider takes passes", () => {
  test.each<[string, object]>([
    ["host and key", CONNECTION],
    [
      "every field",
      {
        ...CONNECTION,
        port: 22,
        user: "ops",
        password: "p",
        privateKey: SECRET,
        privateKeyPassword: "p",
        agentSocketPath: "/run/agent",
        dialErrorLimit: -1,
        perDialTimeout: 0,
      },
    ],
    ["a host key with a comment", { ...CONNECTION, hostKey: `${HOST_KEY} root@edge-1\n` }],
    ["no host key, said aloud", { host: "198.51.100.7", insecureIgnoreHostKey: true }],
    ["secrets from the configuration", { ...CONNECTION, host: PENDING, privateKey: PENDING }],
  ])("%s", (_, connection) => expect(problemsOf(connection)).toEqual([]));
});

describe("any other is refused", () => {
  const fields =
    "host, port, user, password, privateKey, privateKeyPassword, agentSocketPath, dialErrorLimit, perDialTimeout, " +
    "hostKey, insecureIgnoreHostKey";
  test.each<[string, unknown, string]>([
    ["none", undefined, ": is missing; give host, user, a key and hostKey"],
    ["no host", { hostKey: HOST_KEY }, ".host: is missing; give the address or name that SSH dials"],
    ["an empty host", { ...CONNECTION, host: "" }, '.host: "" is not text'],
    ["a proxy", { ...CONNECTION, proxy: { host: "b" } }, `.proxy: is not a field here; there are ${fields}`],
    [
      "a misspelt key",
      { ...CONNECTION, privatekey: SECRET },
      `.privatekey: is not a field here; there are ${fields}`,
    ],
    [
      "a port in text",
      { ...CONNECTION, port: "22" },
      '.port: "22" is not a port; a port is between 1 and 65535',
    ],
    ["a key that is no text", { ...CONNECTION, privateKey: 5 }, ".privateKey: the value is not text"],
    ["a password that is no text", { ...CONNECTION, password: [SECRET] }, ".password: the value is not text"],
    ["a key in the connection's place", SECRET, `: is not an object; its fields are ${fields}`],
    [
      "an RSA host key",
      { ...CONNECTION, hostKey: "ssh-rsa AAAAB3NzaC1yc2E" },
      ".hostKey: the value is an RSA key, which OpenSSH refuses in this form; give the ed25519 or ecdsa one",
    ],
    [
      "a private key for the host key",
      { ...CONNECTION, hostKey: SECRET },
      '.hostKey: the value is not a host key; give a line of /etc/ssh/ssh_host_*.pub, such as "ssh-ed25519 AAAA…"',
    ],
    [
      "a flag in text",
      { ...CONNECTION, insecureIgnoreHostKey: "yes" },
      '.insecureIgnoreHostKey: "yes" is neither true nor false',
    ],
  ])("%s", (_, connection, problem) => {
    const problems = problemsOf(connection);
    expect(problems).toEqual([`gateways[0].connection${problem}`]);
    expect(problems.join()).not.toContain("hunter2");
  });
});

describe("a gateway", () => {
  test.each<[string, object, string]>([
    [
      "a space in its name",
      { name: "edge 1" },
      'name: "edge 1" is not a name; use letters, digits, "-", ".", "_" and ":", a letter or digit first and last',
    ],
    [
      "a line break in its name",
      { name: "edge\n1" },
      'name: "edge\\n1" is not a name; use letters, digits, "-", ".", "_" and ":", a letter or digit first and last',
    ],
    [
      "a path for its name",
      { name: "../edge" },
      'name: "../edge" is not a name; use letters, digits, "-", ".", "_" and ":", a letter or digit first and last',
    ],
    ["an unknown tool", { tool: "ansible" }, 'tool: "ansible" is not one of managed, preinstalled'],
    ["a lock in text", { lockForward: "on" }, 'lockForward: "on" is neither true nor false'],
    ["sudo in text", { sudo: "yes" }, 'sudo: "yes" is neither true nor false'],
  ])("%s", (_, fields, problem) => {
    const gateways = [{ connection: CONNECTION, dataPlane: "nftables", ...fields }];
    expect(checkShape(schemas.args, { ...FARM, gateways }).map(formatProblem)).toEqual([
      `gateways[0].${problem}`,
    ]);
  });
});
