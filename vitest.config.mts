import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Labs and Pulumi programs share two cores and one set of SSH ports.
    maxWorkers: 2,
  },
});
