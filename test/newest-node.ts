/**
 * `npm run test:newest [vitest's arguments]`: the tests that start the program, and those of its parts, with the newest Node that is
 * known to work, which npm has as a package of its own for each kind of machine; `npm test` is run with the Node that there is, often
 * the oldest. raw-socket stays compiled for that one, so that libc opens the sockets here, as in an installed package on Node 24.
 *
 * Not here: what no Node changes (simulations under a virtual clock), and the tests that need the machine for themselves.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const NEWEST = "26";
const ROOT = fileURLToPath(new URL("..", import.meta.url));

function run(argv: readonly string[], env: Readonly<Record<string, string>> = {}): number {
  const [command = "", ...args] = argv;
  return (
    spawnSync(command, args, { cwd: ROOT, stdio: "inherit", env: { ...process.env, ...env } }).status ?? 1
  );
}

const folder = mkdtempSync(join(tmpdir(), "synprobe-node-"));
try {
  // Tests start it as other users, too.
  chmodSync(folder, 0o755);
  const name = `node-${process.platform}-${process.arch}`;
  process.exitCode = run([
    "npm",
    "install",
    "--no-save",
    "--silent",
    "--prefix",
    folder,
    `${name}@${NEWEST}`,
  ]);
  if (process.exitCode === 0) {
    const PATH = `${join(folder, "node_modules", name, "bin")}:${process.env["PATH"]}`;
    const parts = ["unit", "program", "lab"].flatMap((part) => ["--project", part]);
    const vitest = ["npx", "vitest", "run", "--config", "test/vitest.config.ts", ...parts];
    run(["node", "--version"], { PATH });
    process.exitCode =
      run(["npm", "run", "--silent", "build"], { PATH }) ||
      run([...vitest, ...process.argv.slice(2)], { PATH });
  } else console.error(`npm has no ${name}@${NEWEST} here: nothing was tested`);
} finally {
  rmSync(folder, { recursive: true });
}
