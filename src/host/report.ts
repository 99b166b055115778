import { z } from "zod";

/** What `netfilter-lb verify --json` says of a gateway (docs/rule-set.md). */

/** One thing that is not as it was left. */
export interface Finding {
  /** The farm that it is of; null where it is of all (`shared`), or of none. */
  farm: string | null;
  shared: boolean;
  what: "missing" | "extra";
  /** `ip chain web.9f31c2d4`, `sysctl net.ipv4.ip_forward`, `stored line 12`. */
  object: string;
  text: string;
}

/** A farm as a gateway holds it. */
export interface StoredFarm {
  name: string;
  owner: string | null;
  /** Of the set that came in. */
  sha256: string | null;
  applied: string | null;
  /** The mark that the last apply left. */
  repair: string | null;
}

export interface GatewayReport {
  /** Why it cannot be said whether the kernel holds what is stored. */
  reason: string | null;
  farms: StoredFarm[];
  findings: Finding[];
  /** Of sets on trial, and of those that were not confirmed. */
  notes: string[];
}

/** What came of asking a gateway. */
export type GatewayAnswer =
  | { kind: "report"; report: GatewayReport }
  /** Nobody answers. */
  | { kind: "silent" }
  /** It answers, and says nothing of its farms. */
  | { kind: "speechless" };

const text = z.string().max(10_000);
const schema: z.ZodType<GatewayReport> = z.object({
  reason: text.nullable(),
  farms: z.array(
    z.object({
      name: text,
      owner: text.nullable(),
      sha256: text.nullable(),
      applied: text.nullable(),
      repair: z
        .string()
        .regex(/^[0-9a-f]{1,64}$/)
        .nullable(),
    }),
  ),
  findings: z.array(
    z.object({
      farm: text.nullable(),
      shared: z.boolean(),
      what: z.enum(["missing", "extra"]),
      object: text,
      text,
    }),
  ),
  notes: z.array(text),
});

/** @returns undefined for what is no report: the words of an older tool, or garbage */
export function parseReport(answer: string): GatewayReport | undefined {
  try {
    return schema.safeParse(JSON.parse(answer)).data;
  } catch {
    return undefined;
  }
}

/** How a farm stands on a gateway. */
export type Standing =
  /** It is not there, or another set of it is: of a farm that is new or changed, of one that somebody took away, and of one that went back. */
  | { kind: "elsewhere"; words: string }
  /** The set is the one that was applied, and something about it differs. */
  | { kind: "drifted"; findings: Finding[] }
  | { kind: "in step"; mark: string | null };

/** @param owner the stamp, `project/stack/gateway` */
export function standingOf(
  report: GatewayReport,
  { farm, owner, sha256 }: { farm: string; owner: string; sha256: string },
): Standing {
  const stored = report.farms.find(({ name }) => name === farm);
  if (!stored) return { kind: "elsewhere", words: `does not hold farm ${farm}` };
  if (stored.owner !== owner)
    return {
      kind: "elsewhere",
      words: `holds farm ${farm} for ${stored.owner ?? "nobody"}, not for ${owner}`,
    };
  if (stored.sha256 !== sha256)
    return {
      kind: "elsewhere",
      words: `holds another set of farm ${farm} (sha256 ${stored.sha256?.slice(0, 8) ?? "unknown"}, applied ${stored.applied ?? "at no known time"})`,
    };
  const findings = report.findings.filter((finding) => finding.farm === farm);
  if (findings.length > 0 || report.findings.some(({ shared }) => shared))
    return { kind: "drifted", findings };
  return { kind: "in step", mark: stored.repair };
}

/** Findings up to this many are written out. */
const FEW = 10;

/** A line each: `missing: ip element services add element …`. */
export function sayFindings(findings: readonly Finding[]): string[] {
  const lines = findings
    .slice(0, FEW)
    .map(({ what, object, text }) => `${what}: ${object}${text && ` ${text}`}`);
  return findings.length > FEW ? [...lines, `and ${findings.length - FEW} more`] : lines;
}
