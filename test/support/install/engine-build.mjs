/** The engine from its Go modules, for places where only package registries can be reached. */
import { mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { isExecutable, ROOT, run, StepError, say, which } from "./run.mjs";
import { CLI, LANGUAGE_HOST } from "./versions.mjs";

const MODULES = join(ROOT, "test/support/engine");
const VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version";

const PROGRAMS = [
  {
    name: "pulumi-language-nodejs",
    module: join(MODULES, "language-nodejs"),
    source: "github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs",
    version: LANGUAGE_HOST,
  },
  {
    name: "pulumi",
    module: join(MODULES, "cli"),
    source: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    version: CLI,
  },
];

/** Builds CLI and language host into `folder`/bin. An interrupted build leaves nothing half. */
export async function buildEngine(folder) {
  const go = which("go") ?? ["/usr/local/go/bin/go"].find(isExecutable);
  if (!go) {
    throw new StepError(
      "there is no Pulumi engine: none is installed, its download site cannot be reached, and there is no Go to " +
        `build it with. Install Pulumi ${CLI}, or Go 1.25 or newer, and try again.`,
    );
  }
  removeAbandoned(folder);
  const partial = `${folder}.${process.pid}.partial`;
  const clean = () => rmSync(partial, { recursive: true, force: true });
  const interrupted = () => process.exit(130);
  process.once("exit", clean).once("SIGINT", interrupted).once("SIGTERM", interrupted);
  mkdirSync(join(partial, "bin"), { recursive: true });
  try {
    say(
      `engine: building Pulumi ${CLI} from its Go modules, once for this machine; about 4 minutes on 2 cores`,
    );
    for (const program of PROGRAMS) await build(go, program, join(partial, "bin", program.name));
    rmSync(folder, { recursive: true, force: true });
    renameSync(partial, folder);
  } finally {
    clean();
    process.off("exit", clean).off("SIGINT", interrupted).off("SIGTERM", interrupted);
  }
}

async function build(go, { name, module, source, version }, output) {
  await run(
    go,
    ["build", "-trimpath", "-ldflags", `-s -w -X ${VERSION_VARIABLE}=v${version}`, "-o", output, source],
    {
      cwd: module,
      progress: `building ${name}`,
      remedy: `${name} cannot be built: \`go env GOPROXY\` must name a reachable module proxy, and Go be 1.25 or newer.`,
    },
  );
}

/** What a build that was killed left behind. */
function removeAbandoned(folder) {
  mkdirSync(dirname(folder), { recursive: true });
  for (const name of readdirSync(dirname(folder))) {
    const pid =
      name.startsWith(`${basename(folder)}.`) && name.endsWith(".partial") && Number(name.split(".").at(-2));
    if (pid && !isAlive(pid)) rmSync(join(dirname(folder), name), { recursive: true, force: true });
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}
