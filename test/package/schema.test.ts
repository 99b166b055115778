import { join } from "node:path";
import { ComponentProvider } from "@pulumi/pulumi/provider/experimental/provider";
import { beforeAll, describe, expect, test } from "vitest";
import { LoadBalancerFarm, LoadBalancerFarms } from "../../src";

/** What programs in other languages see: the schema that Pulumi's analyser reads from the sources. */

interface Schema {
  resources: Record<
    string,
    { inputProperties: object; requiredInputs: string[]; properties: object; required: string[] }
  >;
  types: Record<
    string,
    { properties?: Record<string, object>; required?: string[]; enum?: { value: string }[] }
  >;
}

let schema: Schema;
beforeAll(async () => {
  const dirname = join(__dirname, "../..");
  const provider = new ComponentProvider({
    components: [LoadBalancerFarm, LoadBalancerFarms],
    dirname,
    name: "netfilter-lb",
  });
  schema = JSON.parse(await provider.getSchema());
});

const typeOf = (name: string) => schema.types[`netfilter-lb:index:${name}`]!;

test("two resources, under the tokens that the components register", () => {
  expect(Object.keys(schema.resources).sort()).toEqual([
    "netfilter-lb:index:LoadBalancerFarm",
    "netfilter-lb:index:LoadBalancerFarms",
  ]);
});

test("a group of farms, each by its name", () => {
  const group = schema.resources["netfilter-lb:index:LoadBalancerFarms"]!;
  expect(group.inputProperties).toMatchObject({
    farms: { type: "object", additionalProperties: { $ref: "#/types/netfilter-lb:index:FarmArgs" } },
  });
  expect(group.requiredInputs).toEqual(["farms", "gateways"]);
  expect(group.required).toEqual(["marks", "probabilities", "ruleSets", "shares"]);
  expect(typeOf("FarmArgs").required).toEqual(["backends", "listeners"]);
});

test("every argument and every output", () => {
  const farm = schema.resources["netfilter-lb:index:LoadBalancerFarm"];
  expect(Object.keys(farm!.inputProperties).sort()).toEqual([
    "affinity",
    "algorithm",
    "allow",
    "backends",
    "confirm",
    "deny",
    "drift",
    "gateways",
    "helper",
    "limits",
    "listeners",
    "localNetworks",
    "log",
    "looseTcp",
    "minActive",
    "onRemoval",
    "pins",
    "prefixLength",
    "prefixLength6",
    "slots",
    "sourceNat",
    "whenEmpty",
  ]);
  expect(farm!.requiredInputs).toEqual(["backends", "gateways", "listeners"]);
  expect(farm!.required).toEqual(["marks", "probabilities", "ruleSets", "shares"]);
});

describe("nested arguments", () => {
  test.each([
    [
      "BackendArgs",
      ["address", "mark", "maxConnections", "port", "priority", "state", "weight"],
      ["address"],
    ],
    ["AffinityArgs", ["by", "maxEntries", "timeoutSeconds"], ["by", "timeoutSeconds"]],
    ["PinArgs", ["backend", "source"], ["backend", "source"]],
    ["LimitsArgs", ["burst", "maxConnections", "newConnectionsPerSecond", "perSource"], []],
    ["SourceLimitArgs", ["burst", "newConnectionsPerSecond"], ["newConnectionsPerSecond"]],
    ["LogArgs", ["burst", "perSecond", "prefix"], []],
    ["ConfirmArgs", ["withinSeconds"], ["withinSeconds"]],
    ["ListenerArgs", ["address", "port", "ports", "protocol"], ["address", "protocol"]],
    [
      "GatewayArgs",
      [
        "capacity",
        "connection",
        "dataPlane",
        "gone",
        "interface",
        "layout",
        "lockForward",
        "markMask",
        "name",
        "repairEverySeconds",
        "sudo",
        "tool",
      ],
      ["connection", "dataPlane"],
    ],
    ["CapacityArgs", ["connectionSeconds", "conntrackMax", "memoryBytes", "newConnectionsPerSecond"], []],
    [
      "ConnectionArgs",
      [
        "agentSocketPath",
        "dialErrorLimit",
        "host",
        "hostKey",
        "insecureIgnoreHostKey",
        "password",
        "perDialTimeout",
        "port",
        "privateKey",
        "privateKeyPassword",
        "user",
      ],
      ["host"],
    ],
  ])("%s", (name, fields, required) => {
    expect(Object.keys(typeOf(name).properties!).sort()).toEqual(fields);
    expect(typeOf(name).required).toEqual(required);
  });

  test("with an address that another resource may give, and a name that it may not", () => {
    expect(typeOf("BackendArgs").properties!.address).not.toHaveProperty("plain");
    expect(typeOf("GatewayArgs").properties!.name).toHaveProperty("plain", true);
  });
});

describe("enums", () => {
  test.each([
    ["Algorithm", ["random", "roundRobin", "sourceHash", "flowHash"]],
    ["BackendState", ["active", "drain", "down"]],
    ["WhenEmpty", ["reject", "drop"]],
    ["OnRemoval", ["keep", "cut"]],
    ["AffinityKey", ["sourceIp", "sourceIpPort", "destinationIp"]],
    ["Helper", ["amanda", "ftp", "h323", "irc", "netbios-ns", "pptp", "sane", "sip", "snmp", "tftp"]],
    ["Protocol", ["tcp", "udp", "sctp", "all"]],
    ["DataPlane", ["nftables", "iptables"]],
    ["Layout", ["nat", "zevenet"]],
    ["Tool", ["managed", "preinstalled"]],
    ["Drift", ["ignore", "report", "repair"]],
  ])("%s", (name, values) => expect(typeOf(name).enum!.map(({ value }) => value)).toEqual(values));
});
