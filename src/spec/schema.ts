import { z } from "zod";
import { addressProblem } from "./address";
import { gatewayNameProblem, nameProblem } from "./name";
import { isPort, portsProblem } from "./ports";
import { type Problem, show } from "./problem";
import { Algorithm, DataPlane, Layout, Protocol, SourceNat } from "./types";

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
  leaf((value) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? undefined
      : `is not between ${min} and ${max}${remedy}`,
  );

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
    : "is not none, masquerade, vip or an IP address",
);

const interfaceName = leaf((value) =>
  // IFNAMSIZ is 16 with the closing NUL; iptables reads a trailing + as a wildcard.
  typeof value === "string" && /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/.test(value)
    ? undefined
    : "is not an interface name; it has at most 15 letters, digits, dots, dashes and underscores",
);

const listener = z.strictObject({
  address: required("give the address that clients dial", address),
  protocol: required(`give one of ${Object.values(Protocol).join(", ")}`, oneOf(Protocol)),
  port: port.optional(),
  ports: leaf(portsProblem).optional(),
});

const backend = z.strictObject({
  address: required("give the address of the machine that serves", address),
  port: port.optional(),
  weight: integer(1, 65535, "; to take a backend out of service remove it").optional(),
  mark: mark.optional(),
});

/** More backends than a mark in 16 bits, or a rule set that one can read, has room for. */
const MAX_BACKENDS = 65_535;

function list(item: z.ZodType, what: string, max: number) {
  return z
    .array(item, {
      error: (issue) => `${issue.input === undefined ? "is missing" : show(issue.input)}; give ${what}`,
    })
    .min(1, { error: `is empty; give ${what}` })
    .max(max, { error: (issue) => `has ${(issue.input as unknown[]).length} entries; ${max} are allowed` });
}

const farmFields = {
  listeners: list(listener, "at least one listener", 4096),
  backends: list(backend, "at least one backend", MAX_BACKENDS),
  algorithm: oneOf(Algorithm).optional(),
  sourceNat: sourceNat.optional(),
};

const targetFields = {
  dataPlane: required(`give one of ${Object.values(DataPlane).join(", ")}`, oneOf(DataPlane)),
  layout: oneOf(Layout).optional(),
  interface: interfaceName.optional(),
  markMask: mark.optional(),
};

/** The fields of `@pulumi/command`'s `remote.ConnectionArgs`, whose own error prints the whole connection. */
const connection = z.strictObject({
  host: required("give the address or name that SSH dials", text),
  port: port.optional(),
  user: text.optional(),
  password: secret.optional(),
  privateKey: secret.optional(),
  privateKeyPassword: secret.optional(),
  agentSocketPath: text.optional(),
  dialErrorLimit: integer(-1, 1000).optional(),
  perDialTimeout: integer(0, 3600).optional(),
  hostKey: leaf(hostKeyProblem).optional(),
  insecureIgnoreHostKey: flag.optional(),
});

const gateway = z.strictObject({
  ...targetFields,
  name: leaf(gatewayNameProblem).optional(),
  connection: required("give host, user, a key and hostKey", z.union([connection, z.undefined()])),
  sudo: flag.optional(),
  tool: oneOf({ managed: "managed", preinstalled: "preinstalled" }).optional(),
  gone: flag.optional(),
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

export const schemas = {
  farm: z.strictObject(farmFields),
  target: z.strictObject(targetFields),
  args: z.strictObject({ ...farmFields, gateways: list(gateway, "at least one gateway", 1000) }),
};

/** What is wrong with a farm's name. */
export function checkName(name: unknown): Problem[] {
  const text = nameProblem(name);
  return text === undefined ? [] : [{ path: ["name"], text: `${show(name)} ${text}` }];
}

/** Every problem that a schema finds, in the order of the fields. */
export function checkShape(schema: z.ZodType, value: unknown): Problem[] {
  const result = schema.safeParse(value);
  return result.success ? [] : result.error.issues.flatMap((issue) => problems(issue, schema));
}

function problems(issue: z.core.$ZodIssue, schema: z.ZodType): Problem[] {
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => ({
        path: [...issue.path, key],
        text: `is not a field here; there are ${fieldsAt(schema, issue.path).join(", ")}`,
      }));
    case "invalid_union":
      return (issue.errors[0] ?? []).flatMap((inner) =>
        problems({ ...inner, path: [...issue.path, ...inner.path] } as z.core.$ZodIssue, schema),
      );
    case "invalid_type":
      return [
        {
          path: issue.path,
          text: issue.message.startsWith("Invalid input") ? `is not an ${issue.expected}` : issue.message,
        },
      ];
    default:
      return [{ path: issue.path, text: issue.message }];
  }
}

/** The fields of the object that stands at `path` in a schema. */
function fieldsAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at: z.ZodType = schema;
  for (const key of path) {
    if (at instanceof z.ZodArray) at = at.element as z.ZodType;
    else if (at instanceof z.ZodObject) at = at.shape[key as string];
    if (at instanceof z.ZodUnion) at = at.options[0] as z.ZodType;
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}
