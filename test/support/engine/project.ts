/** A project folder for the engine: a shadow of an existing one, or a program from text. */
import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";

const ROOT = join(__dirname, "../../..");

/** A project folder, or the files of a program by name. */
export type Source = string | Record<string, string>;

export interface ProjectOptions {
  /** Stack name. Default: `test`. */
  stack?: string;
  /** Plain settings of the stack; a key without a colon belongs to the project. */
  config?: Record<string, string | number | boolean>;
  /** Secret settings. */
  secrets?: Record<string, string>;
  /** Environment of every call for this stack. */
  env?: NodeJS.ProcessEnv;
  /** Whether programs run without a type check, a second faster. Default: yes for text, no for a folder. */
  transpileOnly?: boolean;
}

/** Makes the project at or below `folder`. Returns the folder that has its `Pulumi.yaml`. */
export async function createProject(folder: string, source: Source): Promise<string> {
  await mkdir(folder);
  if (typeof source === "string") return await shadow(folder, resolve(source));
  await fromText(folder, source);
  return folder;
}

/**
 * The project's package, entry by entry a link, down to the project: all that a program looks for is where
 * it was. Real are only the folders on the way and `Pulumi.yaml`, beside which the engine writes the
 * settings of stacks.
 */
async function shadow(folder: string, project: string): Promise<string> {
  const root = packageRoot(project);
  let original = root;
  let copy = folder;
  for (const part of [...relative(root, project).split(sep).filter(Boolean), undefined]) {
    for (const name of await readdir(original)) {
      if (name === ".git" || name === part || /^Pulumi\..+\.yaml$/.test(name)) continue;
      if (name === "Pulumi.yaml") await copyFile(join(original, name), join(copy, name));
      else await symlink(join(original, name), join(copy, name));
    }
    if (part === undefined) break;
    original = join(original, part);
    copy = join(copy, part);
    await mkdir(copy);
  }
  return copy;
}

/** The nearest folder with a package.json, or `folder` itself. */
function packageRoot(folder: string): string {
  for (let at = folder; ; at = dirname(at)) {
    if (existsSync(join(at, "package.json"))) return at;
    if (at === dirname(at)) return folder;
  }
}

/** A CommonJS TypeScript program, as Pulumi's own template has it, that finds this repository's packages. */
async function fromText(folder: string, files: Record<string, string>): Promise<void> {
  const defaults = {
    "Pulumi.yaml": "name: program\nruntime: nodejs\n",
    "package.json": JSON.stringify({ name: "program", main: "index.ts" }),
    "tsconfig.json": JSON.stringify({
      compilerOptions: {
        target: "es2022",
        module: "node16",
        moduleResolution: "node16",
        strict: true,
        skipLibCheck: true,
      },
      files: ["index.ts"],
    }),
  };
  await writeFiles(folder, { ...defaults, ...files });

  const modules = join(folder, "node_modules");
  await mkdir(modules);
  for (const name of await readdir(join(ROOT, "node_modules"))) {
    if (!name.startsWith(".")) await symlink(join(ROOT, "node_modules", name), join(modules, name));
  }
  await symlink(ROOT, join(modules, "pulumi-netfilter-lb"));
}

/** Writes files by their names below `folder`. */
export async function writeFiles(folder: string, files: Record<string, string>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }
}
