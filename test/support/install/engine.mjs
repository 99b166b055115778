/**
 * The Pulumi engine (the CLI and its Node language host) and the `command` provider, and a note of where
 * they are, which `Engine.open()` reads.
 */
import { existsSync, mkdirSync, readFileSync, realpathSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { buildEngine } from "./engine-build.mjs";
import { downloadEngine, downloadProvider, isReachable } from "./engine-download.mjs";
import { isExecutable, ROOT, run, say, which } from "./run.mjs";
import { CLI, COMMAND_PROVIDER, OLDEST_CLI } from "./versions.mjs";

const NOTE = join(ROOT, "node_modules/.cache/pulumi-netfilter-lb/engine.json");
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "pulumi-netfilter-lb");
const PLUGIN_FOLDER = `resource-command-v${COMMAND_PROVIDER}`;

export async function installEngine() {
  const known = readNote();
  if (known) return;

  const found = (await installed()) ?? cached() ?? (await downloaded()) ?? (await built());
  const provider = await officialProvider(found);
  writeNote({ ...found, pluginFolder: PLUGIN_FOLDER, ...(provider && { provider }) });
  say(
    `engine: Pulumi ${found.version}, ${found.origin}; command provider: ${provider ? "official" : "stand-in"}`,
  );
}

/** What an earlier run found, if it is all still there and nothing better could be. */
function readNote() {
  try {
    const note = JSON.parse(readFileSync(NOTE, "utf8"));
    if (note.pluginFolder !== PLUGIN_FOLDER) return undefined;
    const paths = [note.pulumi, note.languageHost, ...(note.provider ? [note.provider] : [])];
    if (!paths.every(isExecutable)) return undefined;
    if (!note.provider && officialPlugin(userHome())) return undefined;
    return note;
  } catch {
    return undefined;
  }
}

function writeNote(note) {
  mkdirSync(dirname(NOTE), { recursive: true });
  const temporary = `${NOTE}.${process.pid}`;
  writeFileSync(temporary, `${JSON.stringify(note, null, 2)}\n`);
  renameSync(temporary, NOTE);
}

/** The user's own `pulumi`, if it is new enough and has its language host. */
async function installed() {
  const pulumi = which("pulumi") ?? [join(userHome(), "bin/pulumi")].find(isExecutable);
  if (!pulumi) return undefined;
  const languageHost = [
    join(dirname(realpathSync(pulumi)), "pulumi-language-nodejs"),
    which("pulumi-language-nodejs"),
  ]
    .filter(Boolean)
    .find(isExecutable);
  const version = (await run(pulumi, ["version"], { timeout: 20_000 }).catch(() => ""))
    .trim()
    .replace(/^v/, "");
  const [major, minor] = version.split(".").map(Number);
  const newEnough = major > OLDEST_CLI[0] || (major === OLDEST_CLI[0] && minor >= OLDEST_CLI[1]);
  if (newEnough && languageHost) return { pulumi, languageHost, version, origin: "installed" };
  say(
    `the installed Pulumi ${version || "(no version)"} is not used: too old, or without its Node language host`,
  );
  return undefined;
}

const folders = {
  downloaded: join(CACHE, `engine-${CLI}-official`),
  built: join(CACHE, `engine-${CLI}-from-go-modules`),
};

function inFolder(origin) {
  const pulumi = join(folders[origin], "bin/pulumi");
  const languageHost = join(folders[origin], "bin/pulumi-language-nodejs");
  return isExecutable(pulumi) && isExecutable(languageHost)
    ? {
        pulumi,
        languageHost,
        version: CLI,
        origin: origin === "built" ? "built from Go modules" : "downloaded",
      }
    : undefined;
}

const cached = () => inFolder("downloaded") ?? inFolder("built");

async function downloaded() {
  if (!(await isReachable())) return undefined;
  await downloadEngine(folders.downloaded);
  return inFolder("downloaded");
}

async function built() {
  await buildEngine(folders.built);
  return inFolder("built");
}

const userHome = () => process.env.PULUMI_HOME || join(homedir(), ".pulumi");

function officialPlugin(home) {
  const plugin = join(home, "plugins", PLUGIN_FOLDER, "pulumi-resource-command");
  return isExecutable(plugin) && !existsSync(`${dirname(plugin)}.partial`) ? plugin : undefined;
}

/** The official plugin: the user's, or one downloaded into the cache; undefined: it is not to be had. */
async function officialProvider({ pulumi }) {
  const present = officialPlugin(userHome()) ?? officialPlugin(CACHE);
  if (present || !(await isReachable())) return present;
  await downloadProvider(pulumi, CACHE);
  return officialPlugin(CACHE);
}
