/** Under sudo a list is read with the invoking user's permissions: what that user may not read is not shown to them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { skipping } from "../lab/netns.ts";
import { run, synprobe } from "./process.ts";

const why = process.getuid?.() === 0 ? undefined : "becoming another user needs root";
/** As sudo sets them, for a user that is nobody in particular. */
const SUDO = { SUDO_UID: "65534", SUDO_GID: "65534", SUDO_USER: "nobody" };

describe.skipIf(skipping("lists under sudo", why))("a list under sudo", () => {
  let folder = "";
  let secret = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-list-"));
    secret = join(folder, "secret");
    writeFileSync(secret, "root:hash:1:2:3\n", { mode: 0o600 });
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("that the user may not read is refused, and nothing of it is printed", async () => {
    const { status, stdout, stderr } = await run(synprobe("-iL", secret), { env: SUDO });
    expect(status).toBe(2);
    expect(stderr).toMatch(/cannot read the list .*: permission denied/);
    expect(`${stdout}${stderr}`).not.toContain("hash");
  });

  it("is read as root without sudo, and with --no-drop", async () => {
    expect((await run(synprobe("-iL", secret))).stderr).toContain("hash");
    expect((await run(synprobe("-iL", secret, "--no-drop"), { env: SUDO })).stderr).toContain("hash");
  });
});
