/** The test run: every *.test.ts below test/. Its closing count is what .ci/run reports. */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// biome-ignore lint/style/noDefaultExport: vitest takes its configuration from the default export
export default defineConfig({
  test: {
    root: fileURLToPath(new URL("..", import.meta.url)),
    include: ["test/**/*.test.ts"],
    // Real kernels and whole processes share two cores with everything else.
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
