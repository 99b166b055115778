/** The versions of the engine that the tests are known to run with. */

/** Modules of the Go proxy at other versions may lack parts: engine/cli/go.mod names the same one. */
export const CLI = "3.259.0";

/** The last version of this module that still has the Node language host; engine/language-nodejs/go.mod. */
export const LANGUAGE_HOST = "3.68.0";

/** The oldest installed `pulumi` that will do. */
export const OLDEST_CLI = [3, 200];

/** The `command` provider that @pulumi/command asks for. */
export const COMMAND_PROVIDER = "1.2.1";
