import { createHash } from "node:crypto";
import { RULE_SET_VERSION } from "../plan/header";
import type { DataPlane } from "../spec/types";
import { toolText } from "./tool";

/** The shell commands that call the tool on a gateway. Each is one line; what it is given comes on standard input. */

const DIRECTORY = "/usr/local/sbin";
const TOOL = `${DIRECTORY}/netfilter-lb`;
const STATE = "/etc/netfilter-lb";

/** Characters of a stamp: a file is called by it, and so is, with a dot before and `.new` behind, the one beside it (NAME_MAX, 255). */
const STAMP_LENGTH = 250;

/** Who calls: the tool leaves alone what bears another stamp. */
export interface Owner {
  project: string;
  stack: string;
  gateway: string;
}

export interface CallOptions {
  /** Run by `sudo -n`. */
  sudo: boolean;
}

export interface PrepareOptions extends CallOptions {
  /** Seconds between two looks whether something was flushed; left out: none. */
  repairEvery?: number | undefined;
  /** Whose rules hold the lock on what is forwarded. */
  dataPlane: DataPlane;
  /** Forward nothing but what farms translate. @default on where nobody forwarded before */
  lockForward?: boolean | undefined;
}

/** Installs the tool, which arrives on standard input, and prepares the machine. */
export function installCommand(owner: Owner, options: PrepareOptions): string {
  const steps = [
    '[ "$(id -u)" = 0 ] || { echo "$(id -un) is not root here: log in as root, or set sudo: true" >&2; exit 1; }',
    `d=${DIRECTORY}; umask 022; mkdir -p $d && t=$(mktemp $d/.netfilter-lb.XXXXXX) || exit 1`,
    'trap "rm -f $t" EXIT; cat >$t',
    `[ "$(sha256sum <$t)" = "${sha256(toolText())}  -" ] || { echo "the tool arrived damaged: run pulumi up again" >&2; exit 4; }`,
    `[ ! -d ${TOOL} ] || { echo "${TOOL} is a folder: move it away" >&2; exit 1; }`,
    `chmod 755 $t && { $t replaces || exit 6; } && mv -f $t ${TOOL} || exit`,
    // What a machine refuses at once, without a word in its state folder, leaves nothing there: no destroy would come by.
    `${prepare(owner, options)} || { code=$?; [ -d ${STATE} ] || rm -f ${TOOL}; exit $code; }`,
  ];
  return `${options.sudo ? "sudo -n " : ""}sh -c '${steps.join("; ")}'`;
}

/** Prepares a machine whose owner installed the tool. */
export function prepareCommand(owner: Owner, options: PrepareOptions): string {
  const missing = `${TOOL} is not installed: install it on the gateway, or leave that to the farm (tool: managed)`;
  const other = `${TOOL} is not the tool of this package: put there what npx netfilter-lb tool prints`;
  const steps = [
    `[ -x ${TOOL} ] || { echo "${missing}" >&2; exit 6; }`,
    `said=$(${call(prepare(owner, options), options)}) || exit`,
    `case $said in *"prepared for ${stamp(owner)}") printf "%s\\n" "$said" ;; *) echo "${other}" >&2; exit 6 ;; esac`,
  ];
  return `sh -c '${steps.join("; ")}'`;
}

function prepare(owner: Owner, { dataPlane, lockForward, repairEvery }: PrepareOptions): string {
  const lock = lockForward === undefined ? "" : ` --lock-forward ${lockForward ? "on" : "off"}`;
  const every = repairEvery === undefined ? "" : ` --repair-every ${repairEvery}`;
  return `${TOOL} prepare --owner ${stamp(owner)} --version ${RULE_SET_VERSION} --plane ${dataPlane}${lock}${every}`;
}

/** Takes what is left of this stack off the machine. @param uninstall the tool too, when no other stack is there */
export function retireCommand(owner: Owner, options: CallOptions & { uninstall: boolean }): string {
  return ifInstalled(
    call(`${TOOL} retire --owner ${stamp(owner)}${options.uninstall ? " --uninstall" : ""}`, options),
  );
}

/** Applies the rule set that comes on standard input. @param confirm seconds that it is on trial; 0: none */
export function applyCommand(
  farm: string,
  owner: Owner,
  ruleSet: string,
  { confirm = 0, ...options }: CallOptions & { confirm?: number },
): string {
  const length = Buffer.byteLength(ruleSet);
  const check = `--length ${length} --sha256 ${sha256(ruleSet)}`;
  const trial = confirm > 0 ? ` --confirm ${confirm}` : "";
  return call(
    `${TOOL} apply ${farm} --owner ${stamp(owner)} ${check} --ssh "$SSH_CONNECTION"${trial}`,
    options,
  );
}

/**
 * Confirms the rule set that `applyCommand` put on trial. The text changes with all that could have that command run again, since
 * an apply that nobody confirms is undone. @param within the seconds of the trial; 0: there is nothing to do
 */
export function confirmCommand(
  farm: string,
  owner: Owner,
  ruleSet: string,
  { within, ...options }: CallOptions & { within: number },
): string {
  if (within === 0) return ":";
  const which = `--sha256 ${sha256(ruleSet)} --within ${within}`;
  return call(`${TOOL} confirm ${farm} --owner ${stamp(owner)} ${which} --ssh "$SSH_CONNECTION"`, options);
}

/** Brings in the rule sets of a group, which come on standard input. @param ruleSets one after the other */
export function applyGroupCommand(
  group: string,
  owner: Owner,
  ruleSets: string,
  options: CallOptions,
): string {
  const check = `--length ${Buffer.byteLength(ruleSets)} --sha256 ${sha256(ruleSets)}`;
  return call(
    `${TOOL} apply-group ${group} --owner ${stamp(owner)} ${check} --ssh "$SSH_CONNECTION"`,
    options,
  );
}

/** Removes the farms of a group that bear this stamp. */
export function removeGroupCommand(group: string, owner: Owner, options: CallOptions): string {
  return ifInstalled(call(`${TOOL} remove-group ${group} --owner ${stamp(owner)}`, options));
}

/** Removes a farm, if it bears this stamp. */
export function removeCommand(farm: string, owner: Owner, options: CallOptions): string {
  return ifInstalled(call(`${TOOL} remove ${farm} --owner ${stamp(owner)}`, options));
}

/** Why the tool would refuse this stamp; undefined where it takes it. */
export function ownerProblem(owner: Owner): string | undefined {
  const text = join(owner);
  if (!/^[A-Za-z0-9._:/-]+$/.test(text))
    return `${text}, which a gateway knows a stack by, may hold only letters, digits and . _ : - /; rename it`;
  if (text.length > STAMP_LENGTH)
    return `${text}, which a gateway knows a stack by, has ${text.length} characters; ${STAMP_LENGTH} are allowed, so give the gateway a shorter name`;
  return undefined;
}

/** An apply that is to mend what it can, and to leave this mark. @param mark hex digits */
export function repairing(applyCommand: string, mark: string): string {
  return `${applyCommand} --repair ${mark}`;
}

/** Says in JSON what differs on a gateway; exits with 127 where the tool is not installed. */
export function verifyCommand(options: CallOptions): string {
  return `sh -c '[ -x ${TOOL} ] || exit 127; exec ${call(`${TOOL} verify --json`, options)}'`;
}

function call(command: string, { sudo }: CallOptions): string {
  return sudo ? `sudo -n ${command}` : command;
}

/** What was on a machine without the tool went with the tool. (In `sh`, whatever shell the user has.) */
function ifInstalled(command: string): string {
  return `sh -c 'if [ -x ${TOOL} ]; then ${command}; fi'`;
}

/** `project/stack/gateway`, of characters that mean nothing to a shell. */
export function stamp(owner: Owner): string {
  const problem = ownerProblem(owner);
  if (problem !== undefined) throw new Error(problem);
  return join(owner);
}

function join({ project, stack, gateway }: Owner): string {
  return `${project}/${stack}/${gateway}`;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
