/**
 * The test run: every *.test.ts below test/. With SYNPROBE_TEST_REPORT=FILE in the environment its results are also
 * written there as JSON, from which .ci/run counts.
 */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const { SYNPROBE_TEST_REPORT: report } = process.env;

// biome-ignore lint/style/noDefaultExport: vitest takes its configuration from the default export
export default defineConfig({
  test: {
    root: fileURLToPath(new URL("..", import.meta.url)),
    include: ["test/**/*.test.ts"],
    reporters: report ? ["default", ["json", { outputFile: report }]] : ["default"],
    // Real kernels and whole processes share two cores with everything else.
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
