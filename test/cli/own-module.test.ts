/** Native code is loaded from where synprobe is installed: another's folder is never asked, whatever Node would do. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findOwn } from "../../src/link/sys/own-module.ts";
import { MAIN, ROOT, run } from "./process.ts";

let place: string;
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), "synprobe-own-"));
});
afterEach(() => rmSync(place, { recursive: true }));

/** A package that says that it has been loaded. */
function plant(folder: string, name: string): void {
  mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, name, "index.js"), `console.log("PLANTED ${name}"); throw new Error();`);
}

describe("a native package", () => {
  it("is found in the package's node_modules, then beside the package", () => {
    const folder = join(place, "node_modules/synprobe");
    plant(join(place, "node_modules"), "a");
    expect(findOwn("a", folder)).toBe(join(place, "node_modules/a"));
    plant(join(folder, "node_modules"), "a");
    expect(findOwn("a", folder)).toBe(join(folder, "node_modules/a"));
  });

  it("is not found above, nor beside a package that lies in no node_modules", () => {
    plant(join(place, "node_modules"), "a");
    expect(findOwn("a", join(place, "opt/synprobe"))).toBeUndefined();
    expect(findOwn("a", join(place, "node_modules/@scope/deep/synprobe"))).toBeUndefined();
  });
});

/** The places to which `require` falls through. */
const PLACES = {
  NODE_PATH: (path: string) => ({ folder: join(path, "path"), env: { NODE_PATH: join(path, "path") } }),
  "$HOME/.node_modules": (path: string) => ({ folder: join(path, ".node_modules"), env: { HOME: path } }),
  "$HOME/.node_libraries": (path: string) => ({ folder: join(path, ".node_libraries"), env: { HOME: path } }),
  "a folder above": (path: string) => ({ folder: join(path, "node_modules"), env: {} }),
} as const;

describe("a program whose native packages are missing", () => {
  /** The program with what it was installed with, but for what is `missing`. */
  function install(missing: RegExp): string {
    const folder = join(place, "opt/synprobe");
    cpSync(join(MAIN, ".."), join(folder, "dist"), { recursive: true });
    cpSync(join(ROOT, "package.json"), join(folder, "package.json"));
    mkdirSync(join(folder, "node_modules"));
    for (const name of readdirSync(join(ROOT, "node_modules"))) {
      if (name.startsWith(".") || missing.test(name)) continue;
      symlinkSync(join(ROOT, "node_modules", name), join(folder, "node_modules", name));
    }
    return join(folder, "dist/synprobe.cjs");
  }

  it.each(Object.entries(PLACES))("does not take raw-socket from %s", async (_name, where) => {
    const { folder, env } = where(place);
    const main = install(/^raw-socket$/);
    // A folder with the name of its binary: whoever asked for that would load the JavaScript in it.
    plant(folder, "raw-socket/build/Release/raw.node");
    const { stdout, stderr } = await run([process.execPath, main, "127.0.0.1:1", "--retries", "0"], { env });
    expect(stdout + stderr).not.toContain("PLANTED");
    // With libc alone it probes as well; without the right to, it says so.
    expect(stdout + stderr).toMatch(/closed|raw sockets are not allowed/);
  });

  it.each(Object.entries(PLACES))("does not take koffi's binary from %s", async (_name, where) => {
    const { folder, env } = where(place);
    const main = install(/^(@koromix|koffi)$/);
    plant(folder, `@koromix/koffi-linux-${process.arch}`);
    plant(folder, "koffi");
    const { status, stdout, stderr } = await run([process.execPath, main, "127.0.0.1:1"], { env });
    expect(stdout + stderr).not.toContain("PLANTED");
    expect(status).toBe(3);
    expect(stderr).toMatch(/^synprobe: native code cannot be loaded \(koffi has no binary/);
  });
});
