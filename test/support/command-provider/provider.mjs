/**
 * The process that the engine starts: prints the port it listens on, then serves the provider protocol.
 * Secrets: the engine hands them over in the clear and keeps every output of a secret input secret.
 */
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { runLocal } from "./local.mjs";
import { Engine } from "./logger.mjs";
import { check, diff, UNKNOWN } from "./properties.mjs";
import { runRemote } from "./remote.mjs";

const require = createRequire(import.meta.url);
const grpc = require("@grpc/grpc-js");
const { ResourceProviderService } = require("@pulumi/pulumi/proto/provider_grpc_pb");
const messages = require("@pulumi/pulumi/proto/provider_pb");
const { PluginInfo } = require("@pulumi/pulumi/proto/plugin_pb");
const { Empty } = require("google-protobuf/google/protobuf/empty_pb");
const { Struct } = require("google-protobuf/google/protobuf/struct_pb");

export const VERSION = "1.2.1";
const RUNNERS = { "command:remote:Command": runRemote, "command:local:Command": runLocal };

// The engine may put its own flags in front of its address.
let engine = new Engine(process.argv.slice(2).findLast((arg) => !arg.startsWith("-")));
const cancelled = new AbortController();

/** The type in a URN: the last of `…$type`, third of the parts between `::`. */
const typeOf = (urn) => urn.split("::")[2].split("$").at(-1);

let running = 0;

async function run(urn, command, inputs, previous) {
  running++;
  try {
    return await RUNNERS[typeOf(urn)](command, inputs, previous, engine.forResource(urn), cancelled.signal);
  } finally {
    running--;
  }
}

// An engine that is killed does not end its providers: this one finishes what it runs, then ends itself.
const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent && running === 0) process.exit();
}, 500).unref();

const handlers = {
  getSchema: () =>
    set(new messages.GetSchemaResponse(), { Schema: JSON.stringify({ name: "command", version: VERSION }) }),
  getPluginInfo: () => set(new PluginInfo(), { Version: VERSION }),
  checkConfig: (request) => set(new messages.CheckResponse(), { Inputs: request.getNews() }),
  diffConfig: () => new messages.DiffResponse(),
  configure: () => set(new messages.ConfigureResponse(), { Supportspreview: true }),

  check(request) {
    const type = typeOf(request.getUrn());
    if (!RUNNERS[type]) throw new Error(`the stand-in of the command provider does not implement ${type}`);
    const { inputs, failures } = check(type, fromStruct(request.getNews()));
    return set(new messages.CheckResponse(), {
      Inputs: Struct.fromJavaScript(inputs),
      FailuresList: failures.map(({ property, reason }) =>
        set(new messages.CheckFailure(), { Property: property, Reason: reason }),
      ),
    });
  },

  diff(request) {
    const type = typeOf(request.getUrn());
    const { SOME, NONE } = {
      SOME: messages.DiffResponse.DiffChanges.DIFF_SOME,
      NONE: messages.DiffResponse.DiffChanges.DIFF_NONE,
    };
    const changes = diff(
      type,
      fromStruct(request.getOlds()),
      fromStruct(request.getNews()),
      request.getIgnorechangesList(),
    );
    const response = set(new messages.DiffResponse(), {
      Changes: changes.size > 0 ? SOME : NONE,
      Hasdetaileddiff: true,
    });
    const kinds = messages.PropertyDiff.Kind;
    for (const [path, { kind, replace }] of changes) {
      const name = `${kind.toUpperCase()}${replace ? "_REPLACE" : ""}`;
      response.getDetaileddiffMap().set(path, set(new messages.PropertyDiff(), { Kind: kinds[name] }));
      response.addDiffs(path.split(/[.[]/)[0]);
      if (replace) response.addReplaces(path);
    }
    return response;
  },

  async create(request) {
    const inputs = fromStruct(request.getProperties());
    const outputs = { ...inputs, stdout: "", stderr: "" };
    if (request.getPreview()) Object.assign(outputs, { stdout: UNKNOWN, stderr: UNKNOWN });
    else if (inputs.create != null)
      Object.assign(outputs, await run(request.getUrn(), inputs.create, inputs, undefined));
    const name = request.getUrn().split("::").slice(3).join("::");
    return set(new messages.CreateResponse(), {
      Id: request.getPreview() ? "" : `${name}${randomBytes(4).toString("hex")}`,
      Properties: Struct.fromJavaScript(outputs),
    });
  },

  async update(request) {
    const olds = fromStruct(request.getOlds());
    const inputs = fromStruct(request.getNews());
    for (const name of request.getIgnorechangesList()) if (name in olds) inputs[name] = olds[name];
    const previous = { stdout: olds.stdout ?? "", stderr: olds.stderr ?? "" };
    const outputs = { ...inputs, ...previous };
    const command = inputs.update ?? inputs.create;
    if (request.getPreview()) Object.assign(outputs, { stdout: UNKNOWN, stderr: UNKNOWN });
    else if (command != null) Object.assign(outputs, await run(request.getUrn(), command, inputs, previous));
    return set(new messages.UpdateResponse(), { Properties: Struct.fromJavaScript(outputs) });
  },

  async delete(request) {
    const state = fromStruct(request.getProperties());
    if (state.delete != null) await run(request.getUrn(), state.delete, state, state);
    return new Empty();
  },

  // Nothing is asked of the host: what the state says is taken for true.
  read: (request) =>
    set(new messages.ReadResponse(), {
      Id: request.getId(),
      Properties: request.getProperties(),
      Inputs: request.getInputs(),
    }),

  cancel() {
    cancelled.abort();
    return new Empty();
  },

  attach(request) {
    engine = new Engine(request.getAddress());
    return new Empty();
  },
};

const fromStruct = (struct) => struct?.toJavaScript() ?? {};

/** Calls `setName(value)` for each field. */
function set(message, fields) {
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) message[`set${name}`](value);
  return message;
}

/** A gRPC method from a function that returns the answer or throws. */
const method = (handler) => async (call, callback) => {
  try {
    callback(null, await handler(call.request));
  } catch (error) {
    callback({ code: grpc.status.UNKNOWN, details: error.message });
  }
};

const server = new grpc.Server({ "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 });
server.addService(
  ResourceProviderService,
  Object.fromEntries(Object.entries(handlers).map(([name, handler]) => [name, method(handler)])),
);
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`${port}`);
});
