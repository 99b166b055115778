import { AsyncResource } from "node:async_hooks";
import { createHash, randomBytes } from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import { ask, type KnownConnection } from "../host/ask";
import { type Owner, repairing, stamp, verifyCommand } from "../host/commands";
import {
  type GatewayAnswer,
  type GatewayReport,
  parseReport,
  type Standing,
  sayFindings,
  standingOf,
} from "../host/report";
import { Drift } from "./args";
import { connectionOf, type NamedGateway } from "./gateway";
import { hasEngine } from "./hook";
import { Registry } from "./registry";

/**
 * Lets a preview and an `up` see what somebody changed on a gateway, where the farm's `drift` asks for it.
 *
 * `remote.Command` cannot read, and an unchanged one dials nobody. So the gateways are asked here, while the engine registers
 * the farm's Command: by a transform, which may take its time, so that the program stays synchronous. All farms of a gateway
 * share one answer.
 *
 * To repair, the Commands that are run get a mark, `--repair 3f2a…`, which the gateway keeps beside the set. In step, the program
 * gives the mark that the gateway has: that is the one in the state, and nothing changes. Where something differs, it gives a
 * new one: an update, which applies the same set.
 *
 * @returns options for the resources of the farm on this gateway
 */
export function driftOptions(
  mode: Drift,
  farm: string,
  gateway: NamedGateway,
  owner: Owner,
  ruleSet: pulumi.Output<string>,
): pulumi.CustomResourceOptions {
  if (mode === Drift.Ignore || gateway.gone === true || !hasEngine()) return {};
  const registry = Registry.current();

  const decide = async (): Promise<Decision> => {
    const text = await known<string>(ruleSet);
    const connection = await known<KnownConnection>(connectionOf(gateway.connection));
    if (text === undefined || connection === undefined) return { kind: "as it is" };
    const answer = await registry.answerOf(gateway.name, () => inquire(gateway, connection));
    const sha256 = createHash("sha256").update(text).digest("hex");
    const standing =
      answer.kind === "report" ? standingOf(answer.report, { farm, owner: stamp(owner), sha256 }) : undefined;
    if (standing) tell(standing, farm, gateway, await isSecret(ruleSet), mode);
    if (mode === Drift.Report) return { kind: "as it is" };
    // What the state has stays: the mark there is not known.
    if (answer.kind === "silent") return { kind: "as it was" };
    const mark = standing && markOf(standing);
    return mark == null ? { kind: "as it is" } : { kind: "marked", mark };
  };
  let decision: Promise<Decision> | undefined;

  const transform: pulumi.ResourceTransform = async ({ props, opts }) => {
    decision ??= decide();
    const decided = await decision;
    if (decided.kind === "as it was")
      return { props, opts: { ...opts, ignoreChanges: [...(opts.ignoreChanges ?? []), "create"] } };
    if (decided.kind === "marked")
      return { props: { ...props, create: withMark(props.create, decided.mark) }, opts };
    return undefined;
  };
  // The engine calls from outside, and the transform finds its program again: several may run in one process.
  return { transforms: [AsyncResource.bind(transform)] };
}

type Decision = { kind: "as it is" } | { kind: "as it was" } | { kind: "marked"; mark: string };

/** Asks a gateway, and tells what concerns all its farms. Never rejects. */
async function inquire(gateway: NamedGateway, connection: KnownConnection): Promise<GatewayAnswer> {
  const where = `gateway ${gateway.name} (${connection.host} port ${connection.port ?? 22})`;
  const unknown = "so nothing is known of drift there";
  try {
    const { code, stdout, stderr } = await ask(connection, verifyCommand({ sudo: gateway.sudo ?? false }));
    // A machine that is yet to be set up.
    if (code === NOT_INSTALLED)
      return { kind: "report", report: { reason: null, farms: [], findings: [], notes: [] } };
    const report = parseReport(stdout);
    if (!report) {
      const why = stderr.trim().slice(0, 1000);
      warn(
        code === 0 || code === 7
          ? `${where}: its netfilter-lb cannot say what differs in a form that this package reads, ${unknown}; pulumi up brings the tool of this package`
          : `${where} answers, but netfilter-lb verify failed (exit code ${code}), ${unknown}: ${why}`,
      );
      return { kind: "speechless" };
    }
    tellOfAll(report, where);
    return { kind: "report", report };
  } catch (error) {
    warn(`${where} cannot be asked, ${unknown}: ${(error as Error).message}`);
    return { kind: "silent" };
  }
}

const NOT_INSTALLED = 127;

function tellOfAll({ reason, findings, notes }: GatewayReport, where: string): void {
  const lines = [
    ...(reason === null ? [] : [`its kernel's rules cannot be compared: ${reason}`]),
    ...notes,
    ...sayFindings(findings.filter(({ farm }) => farm === null)),
  ];
  if (lines.length > 0)
    warn([`${where} is not as it was left:`, ...lines.map((line) => `  ${line}`)].join("\n"));
}

function tell(standing: Standing, farm: string, gateway: NamedGateway, secret: boolean, mode: Drift): void {
  if (standing.kind === "elsewhere")
    // Mostly the very change that is about to be made, which is no reason to warn.
    void pulumi.log.info(
      `gateway ${gateway.name} ${standing.words}: unless this program is new there or changes it, somebody else did`,
    );
  if (standing.kind !== "drifted" || standing.findings.length === 0) return;
  const lines = secret
    ? [`${standing.findings.length} differences, which are not shown because the rule set is a secret`]
    : sayFindings(standing.findings);
  const remedy =
    mode === Drift.Repair
      ? "pulumi up repairs it"
      : "netfilter-lb restore there repairs it, or drift: repair here";
  warn(
    [
      `farm ${farm} on gateway ${gateway.name} has drifted (${remedy}):`,
      ...lines.map((line) => `  ${line}`),
    ].join("\n"),
  );
}

/** Without the resource: its URN comes only after this. */
function warn(message: string): void {
  void pulumi.log.warn(message);
}

/** The mark for the Commands; null for none. */
function markOf(standing: Standing): string | null {
  // Not made from what was found: a gateway that goes back to an earlier set twice would give the same mark twice.
  return standing.kind === "in step" ? standing.mark : randomBytes(8).toString("hex");
}

function withMark(create: unknown, mark: string): pulumi.Input<string> {
  return typeof create === "string"
    ? repairing(create, mark)
    : pulumi.output(create as pulumi.Output<string>).apply((command) => repairing(command, mark));
}

/** What an Output tells only to those who look into it. */
interface Inside {
  isKnown: Promise<boolean>;
  isSecret: Promise<boolean>;
  promise(): Promise<unknown>;
}

/** @returns undefined where the value, or something in it, is not known yet */
async function known<T>(value: unknown): Promise<T | undefined> {
  const output = pulumi.output(value) as unknown as Inside;
  return (await output.isKnown) ? ((await output.promise()) as T) : undefined;
}

function isSecret(value: unknown): Promise<boolean> {
  return (pulumi.output(value) as unknown as Inside).isSecret;
}
