import { join } from "node:path";
import { defineConfig } from "vitest/config";

export default defineConfig({
  // The examples import the package by its name; here they get its source.
  resolve: {
    alias: [
      { find: /^pulumi-netfilter-lb$/, replacement: join(import.meta.dirname, "src/index.ts") },
      { find: /^pulumi-netfilter-lb\/core$/, replacement: join(import.meta.dirname, "src/core.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Labs and Pulumi programs share two cores and one set of SSH ports.
    maxWorkers: 2,
  },
});
