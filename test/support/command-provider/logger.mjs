/** Status and log lines, sent to the engine that started this provider. */
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { credentials } = require("@grpc/grpc-js");
const { EngineClient } = require("@pulumi/pulumi/proto/engine_grpc_pb");
const { LogRequest, LogSeverity } = require("@pulumi/pulumi/proto/engine_pb");

export class Engine {
  #client;

  constructor(address) {
    this.#client = address ? new EngineClient(address, credentials.createInsecure()) : undefined;
  }

  /** A logger for one resource. */
  forResource(urn) {
    const send = (severity, ephemeral) => (message) => this.#send(urn, severity, message, ephemeral);
    return {
      /** Shown beside the resource while it is worked on, then gone. */
      status: send(LogSeverity.INFO, true),
      warning: send(LogSeverity.WARNING, false),
      error: send(LogSeverity.ERROR, false),
    };
  }

  #send(urn, severity, message, ephemeral) {
    if (!this.#client) return;
    const request = new LogRequest();
    request.setUrn(urn);
    request.setSeverity(severity);
    request.setMessage(message);
    request.setEphemeral(ephemeral);
    // A log line that does not arrive is no reason for a command to fail.
    this.#client.log(request, () => {});
  }
}

/**
 * Hands over output line by line as it arrives, and what is left without a line break at `end()`.
 */
export function lineLogger(log) {
  let rest = "";
  return {
    write(text) {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      for (const line of lines) log(line);
    },
    end() {
      if (rest) log(rest);
      rest = "";
    },
  };
}
