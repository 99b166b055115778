/** The inputs of a Command: which exist, their defaults, and how two sets of them differ. */
import { isDeepStrictEqual } from "node:util";

/** Stands for a value not known yet, in previews. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

const COMMON = [
  "addPreviousOutputInEnv",
  "create",
  "delete",
  "environment",
  "logging",
  "stdin",
  "triggers",
  "update",
];
const REMOTE = new Set([...COMMON, "connection"]);
const LOCAL = new Set([...COMMON, "archivePaths", "assetPaths", "dir", "interpreter"]);

const CONNECTION = new Set([
  "agentSocketPath",
  "dialErrorLimit",
  "host",
  "hostKey",
  "password",
  "perDialTimeout",
  "port",
  "privateKey",
  "privateKeyPassword",
  "proxy",
  "user",
]);

/** Fields that the stand-in does not implement, refused rather than ignored. */
const NOT_IMPLEMENTED = ["archivePaths", "assetPaths"];

export const inputNames = (type) => (type === "command:local:Command" ? LOCAL : REMOTE);

/** Inputs with the provider's defaults, and what is wrong with them. */
export function check(type, news) {
  const failures = [];
  const fail = (property, reason) => failures.push({ property, reason });
  const names = inputNames(type);

  for (const name of Object.keys(news)) {
    if (!names.has(name)) fail(name, `unrecognized field ${name}`);
    else if (NOT_IMPLEMENTED.includes(name) && news[name] != null)
      fail(name, `${name} is not implemented by the stand-in of the command provider`);
  }
  if (type === "command:remote:Command") checkConnection(news.connection, fail);

  return { inputs: { addPreviousOutputInEnv: true, ...news }, failures };
}

function checkConnection(connection, fail) {
  if (connection === UNKNOWN) return;
  if (connection === null || typeof connection !== "object") {
    fail("connection", "Missing required property 'connection'");
    return;
  }
  // The official provider prints the whole connection, keys included, when a field is unknown to it.
  for (const name of Object.keys(connection)) {
    if (!CONNECTION.has(name)) fail("connection", `unrecognized field ${name}`);
  }
  if (connection.host == null) fail("connection", "missing required field host");
  if (connection.proxy != null)
    fail("connection", "proxy is not implemented by the stand-in of the command provider");
}

/**
 * The detailed diff between what is in the state and what the program asks for: property path to
 * `{ kind, replace }`. Only triggers replace, and `connection` counts as one opaque value.
 */
export function diff(type, olds, news, ignored) {
  const changes = new Map();
  for (const name of inputNames(type)) {
    if (ignored.includes(name)) continue;
    compare(name, olds[name], news[name], name === "connection", changes);
  }
  for (const [path, change] of changes) change.replace = path === "triggers" || path.startsWith("triggers[");
  return changes;
}

function compare(path, old, next, opaque, changes) {
  if (isDeepStrictEqual(old ?? null, next ?? null)) return;
  if (old == null) changes.set(path, { kind: "add" });
  else if (next == null) changes.set(path, { kind: "delete" });
  else if (!opaque && Array.isArray(old) && Array.isArray(next)) {
    for (let i = 0; i < Math.max(old.length, next.length); i++)
      compare(`${path}[${i}]`, old[i], next[i], false, changes);
  } else if (!opaque && isObject(old) && isObject(next)) {
    for (const key of new Set([...Object.keys(old), ...Object.keys(next)]))
      compare(memberPath(path, key), old[key], next[key], false, changes);
  } else changes.set(path, { kind: "update" });
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

const memberPath = (path, key) => (/^[A-Za-z_$][\w$]*$/.test(key) ? `${path}.${key}` : `${path}["${key}"]`);
