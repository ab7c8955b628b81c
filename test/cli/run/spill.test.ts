/** The temporary file of a large run: it keeps bytes, has no name, and says once that it is broken. */
import { mkdtempSync, readdirSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { openSpill } from "../../../src/cli/run/spill.ts";

afterEach(() => void vi.unstubAllEnvs());

test("keeps bytes, and leaves nothing in its folder while it does", () => {
  const folder = mkdtempSync(join(tmpdir(), "synprobe-spill-"));
  vi.stubEnv("TMPDIR", folder);
  const spill = openSpill((path, code) => expect.unreachable(`${path}: ${code}`));
  expect(spill.write(Buffer.from("abc"), 0)).toBe(true);
  expect(spill.write(Buffer.from("xyzgh"), 3)).toBe(true);
  expect(spill.write(Buffer.from("def"), 3)).toBe(true);
  const into = Buffer.alloc(4);
  expect(spill.read(into, 2)).toBe(4);
  expect(into.toString()).toBe("cdef");
  expect(spill.read(into, 6)).toBe(2);
  expect(readdirSync(folder)).toEqual([]);
  rmdirSync(folder);
});

test("says once that there is no folder for it, and keeps nothing", () => {
  vi.stubEnv("TMPDIR", "/nowhere/at/all");
  const onError = vi.fn();
  const spill = openSpill(onError);
  expect(spill.write(Buffer.from("abc"), 0)).toBe(false);
  expect(spill.read(Buffer.alloc(3), 0)).toBe(0);
  expect(onError).toHaveBeenCalledExactlyOnceWith(expect.stringContaining("/nowhere/at/all"), "ENOENT");
});
