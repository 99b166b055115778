import { z } from "zod";
import { addressProblem } from "./address";
import { canonicalKey } from "./check";
import { gatewayNameProblem, nameProblem } from "./name";
import { isPort, portsProblem } from "./ports";
import { prefixProblem } from "./prefix";
import { type Problem, show } from "./problem";
import {
  AffinityKey,
  Algorithm,
  BackendState,
  DataPlane,
  Helper,
  Layout,
  OnRemoval,
  Protocol,
  SourceNat,
  WhenEmpty,
} from "./types";

/** Stands for a value that is not known before an update: it is neither right nor wrong yet. */
export const PENDING = Symbol("pending");

/**
 * A leaf of the schema: `problem` says what is wrong with a value that is there. Leaves are checked by plain
 * functions rather than by zod's own, so that each message names the value and the remedy.
 */
function leaf(problem: (value: unknown) => string | undefined, display: (value: unknown) => string = show) {
  return z.any().superRefine((value, context) => {
    if (value === PENDING || value === undefined) return;
    const text = problem(value);
    if (text !== undefined) context.addIssue({ code: "custom", message: `${display(value)} ${text}` });
  });
}

/** A leaf that must be there; `remedy` says what to write. */
function required(remedy: string, schema: z.ZodType) {
  return schema.superRefine((value, context) => {
    if (value === undefined) context.addIssue({ code: "custom", message: `is missing; ${remedy}` });
  });
}

/** A leaf that decides which resources there are and what they are called: an output comes too late for it. */
function plain(schema: z.ZodType) {
  return schema.superRefine((value, context) => {
    if (value === PENDING)
      context.addIssue({ code: "custom", message: "is an Output or a promise; write the value itself" });
  });
}

/** A leaf that an error never shows: a key or a password. */
const secret = leaf(
  (value) => (typeof value === "string" ? undefined : "is not text"),
  () => "the value",
);

const oneOf = (values: Record<string, string>) =>
  leaf((value) =>
    Object.values(values).includes(value as string)
      ? undefined
      : `is not one of ${Object.values(values).join(", ")}`,
  );

const integer = (min: number, max: number, remedy = "") =>
  leaf((value) => {
    if (!Number.isInteger(value)) return `is not a whole number between ${min} and ${max}${remedy}`;
    if ((value as number) >= min && (value as number) <= max) return undefined;
    return `is not between ${min} and ${max}${remedy}`;
  });

const text = leaf((value) => (typeof value === "string" && value !== "" ? undefined : "is not text"));
const flag = leaf((value) => (typeof value === "boolean" ? undefined : "is neither true nor false"));
const address = leaf(addressProblem);
const port = leaf((value) => (isPort(value) ? undefined : "is not a port; a port is between 1 and 65535"));
const mark = leaf((value) =>
  Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 0xffffffff
    ? undefined
    : "is not a mark; a mark is between 1 and 0xffffffff",
);

const sourceNat = leaf((value) =>
  Object.values<unknown>(SourceNat).includes(value) || addressProblem(value) === undefined
    ? undefined
    : "is not none, masquerade, vip, auto or an IP address",
);

const interfaceName = leaf((value) =>
  // IFNAMSIZ is 16 with the closing NUL; iptables reads a trailing + as a wildcard.
  typeof value === "string" && /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/.test(value)
    ? undefined
    : "is not an interface name; it has at most 15 letters, digits, dots, dashes and underscores",
);

/** For a list or an object that cannot be looked into yet. */
const UNKNOWN = "is not known yet; write it out, with an Output only where a single text or number stands";

/** An object that has these fields and no other. Its own value is never shown: a key may stand in its place. */
function object<T extends z.ZodRawShape>(fields: T) {
  const names = Object.keys(fields).join(", ");
  return z.strictObject(fields, {
    error: ({ code, input }) => {
      if (code === "unrecognized_keys") return `is not a field here; there are ${names}`;
      return input === PENDING ? UNKNOWN : `is not an object; its fields are ${names}`;
    },
  });
}

const listener = object({
  address: required("give the address that clients dial", address),
  protocol: required(`give one of ${Object.values(Protocol).join(", ")}`, oneOf(Protocol)),
  port: port.optional(),
  ports: leaf(portsProblem).optional(),
});

/** As many as a connection tracking table of the largest machines holds. */
const connections = integer(1, 16_777_216);
const perSecond = integer(1, 10_000);

const backend = object({
  address: required("give the address of the machine that serves", address),
  port: port.optional(),
  weight: integer(1, 65535, "; to take a backend out of service set its state to drain or down").optional(),
  mark: mark.optional(),
  state: oneOf(BackendState).optional(),
  priority: integer(0, 65535).optional(),
  maxConnections: connections.optional(),
});

const affinity = object({
  by: required(`give one of ${Object.values(AffinityKey).join(", ")}`, oneOf(AffinityKey)),
  timeoutSeconds: required("give the seconds that a client is remembered", integer(1, 2_147_483)),
  maxEntries: integer(1, 16_777_216, "; to remember nobody leave affinity out").optional(),
});

const network = required("give a network, such as 198.51.100.0/24", leaf(prefixProblem));

const pin = object({
  source: network,
  backend: required("give a backend's address, with its port where it has one", leaf(keyProblem)),
});

function keyProblem(value: unknown): string | undefined {
  return typeof value === "string" && canonicalKey(value) !== undefined
    ? undefined
    : "is not a backend's address, with its port where it has one, such as 10.0.0.3 or 10.0.0.3:80";
}

const limits = object({
  maxConnections: connections.optional(),
  newConnectionsPerSecond: perSecond.optional(),
  burst: perSecond.optional(),
  perSource: object({
    newConnectionsPerSecond: required("give how many a second", perSecond),
    burst: perSecond.optional(),
  }).optional(),
});

const log = object({
  // iptables takes 29 characters (`struct xt_log_info`); no blank, since the tool takes no quotes.
  prefix: leaf((value) =>
    typeof value === "string" && /^[A-Za-z0-9_.:=-]{1,28}$/.test(value)
      ? undefined
      : 'is not a prefix; it has 1 to 28 letters, digits, and "_", ".", ":", "=", "-"',
  ).optional(),
  perSecond: perSecond.optional(),
  burst: perSecond.optional(),
});

/** More backends than a mark in 16 bits, or a rule set that one can read, has room for. */
const MAX_BACKENDS = 65_535;

function anyList(item: z.ZodType, what: string, max: number) {
  return z
    .array(item, {
      error: ({ input }) => {
        if (input === PENDING) return UNKNOWN;
        return `${input === undefined ? "is missing" : `${show(input)} is not a list`}; give ${what}`;
      },
    })
    .max(max, { error: (issue) => `has ${(issue.input as unknown[]).length} entries; ${max} are allowed` });
}

function list(item: z.ZodType, what: string, max: number, remedy = `give ${what}`) {
  return anyList(item, what, max).min(1, { error: `is empty; ${remedy}` });
}

const MAX_NETWORKS = 65_536;

/** Networks may come from elsewhere as a whole, however many they are. */
function networks(schema: z.ZodType) {
  return z.preprocess((value) => (value === PENDING ? undefined : value), schema.optional());
}

const farmFields = {
  listeners: list(listener, "at least one listener", 4096),
  backends: list(backend, "at least one backend", MAX_BACKENDS),
  algorithm: oneOf(Algorithm).optional(),
  sourceNat: sourceNat.optional(),
  localNetworks: networks(
    list(network, "client networks", MAX_NETWORKS, "name a network, or take sourceNat none"),
  ),
  prefixLength: integer(1, 32).optional(),
  prefixLength6: integer(1, 128).optional(),
  slots: integer(16, 65_536).optional(),
  affinity: affinity.optional(),
  pins: anyList(pin, "a list of pins", MAX_NETWORKS).optional(),
  minActive: integer(1, MAX_BACKENDS).optional(),
  whenEmpty: oneOf(WhenEmpty).optional(),
  onRemoval: oneOf(OnRemoval).optional(),
  limits: limits.optional(),
  allow: networks(
    list(
      network,
      "the networks to serve",
      MAX_NETWORKS,
      "that would shut out everybody: name the networks to serve, or leave it out",
    ),
  ),
  deny: networks(anyList(network, "the networks to shut out", MAX_NETWORKS)),
  looseTcp: flag.optional(),
  helper: oneOf(Helper).optional(),
  log: log.optional(),
};

const targetFields = {
  dataPlane: required(`give one of ${Object.values(DataPlane).join(", ")}`, oneOf(DataPlane)),
  layout: oneOf(Layout).optional(),
  interface: interfaceName.optional(),
  markMask: mark.optional(),
};

const MAX_SECONDS = 31_536_000;

const seconds = leaf((value) =>
  typeof value === "number" && value > 0 && value <= MAX_SECONDS
    ? undefined
    : `is not a number of seconds above 0, at most ${MAX_SECONDS} (a year)`,
);

/** Numbers that only warnings are made of, which an output would come too late for. */
const capacity = object({
  conntrackMax: plain(integer(1, 0x7fff_ffff).optional()),
  memoryBytes: plain(integer(2 ** 20, Number.MAX_SAFE_INTEGER, "; it is counted in bytes").optional()),
  newConnectionsPerSecond: plain(integer(1, 100_000_000).optional()),
  connectionSeconds: plain(seconds.optional()),
});

/** The fields of `@pulumi/command`'s `remote.ConnectionArgs`, whose own error prints the whole connection. */
const connection = object({
  host: required("give the address or name that SSH dials", text),
  port: port.optional(),
  user: text.optional(),
  password: secret.optional(),
  privateKey: secret.optional(),
  privateKeyPassword: secret.optional(),
  agentSocketPath: text.optional(),
  dialErrorLimit: integer(-1, 1000).optional(),
  perDialTimeout: integer(0, 3600).optional(),
  hostKey: leaf(hostKeyProblem, () => "the value").optional(),
  insecureIgnoreHostKey: plain(flag.optional()),
});

const repairEverySeconds = integer(2, 3600, " seconds; to repair nothing leave it out");

const gateway = object({
  ...targetFields,
  name: plain(leaf(gatewayNameProblem).optional()),
  connection: required("give host, user, a key and hostKey", z.union([connection, z.undefined()])),
  sudo: plain(flag.optional()),
  lockForward: flag.optional(),
  tool: plain(oneOf({ managed: "managed", preinstalled: "preinstalled" }).optional()),
  gone: plain(flag.optional()),
  repairEverySeconds: repairEverySeconds.optional(),
  capacity: capacity.optional(),
});

/**
 * An `ssh-rsa` key is refused because the provider then offers that algorithm alone, which OpenSSH has had off since
 * 8.8 (its release notes, "Potentially-incompatible changes").
 */
function hostKeyProblem(value: unknown): string | undefined {
  const keyType =
    typeof value === "string" ? /^(\S+) [A-Za-z0-9+/]+=*(?: .*)?$/.exec(value.trim())?.[1] : undefined;
  if (keyType === undefined)
    return 'is not a host key; give a line of /etc/ssh/ssh_host_*.pub, such as "ssh-ed25519 AAAA…"';
  if (keyType === "ssh-rsa")
    return "is an RSA key, which OpenSSH refuses in this form; give the ed25519 or ecdsa one";
  return undefined;
}

const confirm = object({
  withinSeconds: required(
    "give the seconds, or 0 for none",
    leaf((value) =>
      value === 0 || (Number.isInteger(value) && (value as number) >= 5 && (value as number) <= 3600)
        ? undefined
        : "is not a whole number of seconds between 5 and 3600; 0 lets a change count at once",
    ),
  ),
});

export const schemas = {
  confirm,
  /** But for what is in its farms. */
  group: object({
    gateways: list(gateway, "at least one gateway", 1000),
    farms: required("give each farm by its name", z.any()),
    confirm: confirm.optional(),
  }),
  farm: object(farmFields),
  target: object(targetFields),
  capacityGateway: object({ ...targetFields, capacity: capacity.optional() }),
  repairEverySeconds,
  args: object({
    ...farmFields,
    confirm: confirm.optional(),
    gateways: list(gateway, "at least one gateway", 1000),
    drift: plain(oneOf({ ignore: "ignore", report: "report", repair: "repair" })).optional(),
  }),
};

/** What is wrong with a farm's name. */
export function checkName(name: unknown): Problem[] {
  if (name === undefined) return [{ path: ["name"], text: "is missing; write the farm's name as text" }];
  const text = nameProblem(name);
  return text === undefined ? [] : [{ path: ["name"], text: `${show(name)} ${text}` }];
}

/** Every problem that a schema finds, in the order of the fields. */
export function checkShape(schema: z.ZodType, value: unknown): Problem[] {
  const result = schema.safeParse(value);
  return result.success ? [] : result.error.issues.flatMap(problems);
}

function problems(issue: z.core.$ZodIssue): Problem[] {
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => ({ path: [...issue.path, key], text: issue.message }));
    case "invalid_union":
      return (issue.errors[0] ?? []).flatMap((inner) =>
        problems({ ...inner, path: [...issue.path, ...inner.path] } as z.core.$ZodIssue),
      );
    default:
      return [{ path: issue.path, text: issue.message }];
  }
}
