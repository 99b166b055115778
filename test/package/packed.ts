import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The package as the registry would have it, in a project that depends on it. Nothing is fetched. */
export interface Packed {
  /** Paths in the tarball. */
  files: string[];
  /** A project whose node_modules hold the package, unpacked, and what it depends on. */
  consumer: string;
  /** Runs node on a program of that project. @param name decides between CommonJS and ESM: `.cjs`, `.mjs` */
  run(name: string, program: string): string;
  /** Checks a program of that project with tsc. @param name `.cts` or `.mts` */
  check(files: Record<string, string>, options: string[]): void;
  remove(): void;
}

const ROOT = join(__dirname, "../..");
const PARTS = [
  "src",
  "package.json",
  "tsconfig.json",
  "tsconfig.build.json",
  "README.md",
  "LICENSE",
  "CHANGELOG.md",
  "PulumiPlugin.yaml",
];

/** Builds and packs a copy, so that a `dist` that somebody else uses stays as it is. */
export function pack(): Packed {
  const folder = mkdtempSync(join(tmpdir(), "netfilter-lb-package-"));
  const project = join(folder, "project");
  mkdirSync(project);
  for (const part of PARTS) cpSync(join(ROOT, part), join(project, part), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(project, "node_modules"));
  sh(project, "npm", "run", "build");
  const [tarball] = JSON.parse(
    sh(project, "npm", "pack", "--json", "--ignore-scripts", "--pack-destination", folder),
  );

  const consumer = join(folder, "consumer");
  const modules = join(consumer, "node_modules");
  const installed = join(modules, "pulumi-netfilter-lb");
  mkdirSync(installed, { recursive: true });
  sh(installed, "tar", "-xzf", join(folder, tarball.filename), "--strip-components=1");
  for (const dependency of ["@pulumi", "@types", "zod"])
    symlinkSync(join(ROOT, "node_modules", dependency), join(modules, dependency));

  return {
    files: tarball.files.map(({ path }: { path: string }) => path),
    consumer,
    run(name, program) {
      writeFileSync(join(consumer, name), program);
      return sh(consumer, process.execPath, name).trim();
    },
    check(files, options) {
      for (const [name, program] of Object.entries(files)) writeFileSync(join(consumer, name), program);
      const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
      sh(
        consumer,
        process.execPath,
        tsc,
        "--noEmit",
        "--strict",
        "--skipLibCheck",
        ...options,
        ...Object.keys(files),
      );
    },
    remove: () => rmSync(folder, { recursive: true }),
  };
}

function sh(cwd: string, command: string, ...args: string[]): string {
  try {
    return execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${command} ${args.join(" ")}:\n${stdout}${stderr}`);
  }
}
