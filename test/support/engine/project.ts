/** A project folder for the engine: a shadow of an existing one, or a program from text. */
import { copyFile, mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

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

export async function createProject(folder: string, source: Source): Promise<void> {
  await mkdir(folder);
  if (typeof source === "string") await shadow(folder, resolve(source));
  else await fromText(folder, source);
}

/** Links to everything but the settings of stacks, which the engine writes beside `Pulumi.yaml`. */
async function shadow(folder: string, project: string): Promise<void> {
  for (const name of await readdir(project)) {
    if (name === ".git" || /^Pulumi\..+\.yaml$/.test(name)) continue;
    if (name === "Pulumi.yaml") await copyFile(join(project, name), join(folder, name));
    else await symlink(join(project, name), join(folder, name));
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
