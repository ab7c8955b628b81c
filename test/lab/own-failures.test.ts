/** What this machine itself fails to deliver says nothing of a port: check cannot tell, watch tells nothing, a store keeps what it had. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { linesOf, run, start, synprobe } from "../cli/process.ts";
import { everyday, someOf } from "../everyday.ts";
import { listen } from "./listeners.ts";
import { createLab, FAR, inNamespace, ip, type Lab, labProblem, skipping } from "./netns.ts";

const OPEN = 7601;
/** Behind the far side. */
const HOST = "198.18.4.1";
const LINKS = everyday(["packet"], ["raw", "packet", "connect"]);
/** Nobody there. */
const DEAD = "192.0.2.99";

describe.skipIf(skipping("this machine's own failures", labProblem()))("this machine's own failure", () => {
  let lab: Lab;
  let folder = "";
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-own-"));
    lab = createLab();
    ip(lab.far, `addr add ${HOST}/32 dev lo`);
    await listen(lab.far, [{ host: HOST, port: OPEN }]);
    heal();
  });
  afterEach(() => heal());
  afterAll(() => {
    lab?.remove();
    rmSync(folder, { recursive: true });
  });
  const near = (...words: string[]) => run(inNamespace(lab.near, synprobe(...words)), { limitMs: 60_000 });
  const heal = (): void => {
    ip(lab.far, "link set veth0 up");
    ip(lab.near, `route replace 198.18.4.0/24 via ${FAR.ipv4}`);
  };
  const FAILURES = {
    "a next hop that is dead": () => ip(lab.near, `route replace 198.18.4.0/24 via ${DEAD}`),
    "a cable that is out": () => ip(lab.far, "link set veth0 down"),
  } as const;
  const kinds = Object.keys(FAILURES) as (keyof typeof FAILURES)[];

  const policy = (): string => {
    const file = join(folder, "policy.yaml");
    writeFileSync(file, `groups:\n  - targets: ${HOST}\n    ports:\n      ${OPEN}: not open\n`);
    return file;
  };

  it.each(kinds)("%s: check cannot tell, and says why, over each link", { timeout: 60_000 }, async (kind) => {
    for (const link of LINKS) {
      const right = await near("check", "--link", link, policy());
      expect({ link, ...right }).toMatchObject({ link, status: 1, signal: null, stderr: "" });
    }
    FAILURES[kind]();
    for (const link of LINKS) {
      const blind = await near("check", "--link", link, policy());
      expect([link, blind.status]).toEqual([link, 4]);
      expect(blind.stdout).toContain("could not be told");
      expect(blind.stderr, link).toMatch(/nothing is connected to it|does not answer ARP/);
    }
  });

  it.each(someOf(2, kinds))(
    "%s: watch tells no change, and that it sees nothing; the store keeps what it had",
    { timeout: 60_000 },
    async (kind) => {
      const store = join(folder, `${kinds.indexOf(kind)}.db`);
      const argv = synprobe("watch", policy(), "--every", "1s", "--confirm", "50ms", "--store", store);
      const watch = start(inNamespace(lab.near, argv), { limitMs: 50_000 });
      await watch.until("stdout", /"type":"violation".*\n/);
      FAILURES[kind]();
      await watch.until("stderr", /failed: no port could be probed: send-ehostunreach/);
      heal();
      // A round that sees the port again, of which nothing is to be told.
      await watch.until("stderr", /(failed[\s\S]*){2}|$/);
      const again = await near("--store", store, `${HOST}:${OPEN}`);
      expect(again.status).toBe(0);
      watch.kill("SIGTERM");
      const { stdout } = await watch.finished;
      expect(linesOf(stdout)).toHaveLength(1);
      FAILURES[kind]();
      await near("--store", store, `${HOST}:${OPEN}`);
      const { stdout: history } = await near("history", HOST, "--store", store);
      expect(history).toContain("open");
      expect(history).not.toContain("filtered");
    },
  );
});
