/**
 * Sandboxes and half installations: socket families that a seccomp filter refuses, few descriptors, native code that is not
 * there or may not be loaded. Each has one clear line and never the exit status of a fault of ours.
 */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { command, createLab, FAR, inNamespace, ip, type Lab, labProblem, skipping } from "../lab/netns.ts";
import { type Finished, MAIN, ROOT, run, synprobe, withFiles } from "./process.ts";

/** Enough pairs for packets of our own, of which a tenth is probed. */
const LARGE = ["198.19.0.0/20:61-85", "--shard", "1/10", "--seed", "1"];
const AF_NETLINK = 16;
const AF_PACKET = 17;

/** Makes socket(2) of one family fail with EAFNOSUPPORT in this process, as systemd's RestrictAddressFamilies= does. */
const FORBID = `
  const koffi = require(${JSON.stringify(join(ROOT, "node_modules/koffi"))});
  const prctl = koffi.load(null).func("int prctl(int, unsigned long, void*, unsigned long, unsigned long)");
  const socketCall = { x64: 41, arm64: 198 }[process.arch];
  const lines = [[0x20, 0, 0, 0], [0x15, 0, 3, socketCall], [0x20, 0, 0, 16], [0x15, 0, 1, +process.env.FORBIDDEN],
    [0x06, 0, 0, 0x50000 | 97], [0x06, 0, 0, 0x7fff0000]];
  const code = Buffer.from(new ArrayBuffer(8 * lines.length));
  lines.forEach(([op, jt, jf, k], i) => {
    code.writeUInt16LE(op, 8 * i); code[8 * i + 2] = jt; code[8 * i + 3] = jf; code.writeUInt32LE(k, 8 * i + 4);
  });
  const program = Buffer.from(new ArrayBuffer(16));
  program.writeUInt16LE(lines.length, 0);
  program.writeBigUInt64LE(koffi.address(code), 8);
  if (prctl(38, 1, null, 0, 0) !== 0 || prctl(22, 2, program, 0, 0) !== 0) throw new Error("no seccomp here");
`;

describe.skipIf(skipping("sandboxes", labProblem()))("sandboxes", () => {
  let lab: Lab;
  let folder = "";
  beforeAll(() => {
    lab = createLab();
    folder = mkdtempSync(join(tmpdir(), "synprobe-sandbox-"));
    writeFileSync(join(folder, "forbid.cjs"), FORBID);
    ip(lab.far, "route add local 198.19.0.0/16 dev lo");
    ip(lab.near, `route add 198.19.0.0/16 via ${FAR.ipv4}`);
  });
  afterAll(() => {
    lab?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  const without = (family: number, ...words: string[]): Promise<Finished> => {
    const [node, ...argv] = synprobe(...words);
    const forbidden = [node, "--require", join(folder, "forbid.cjs"), ...argv];
    return run(inNamespace(lab.near, forbidden), { env: { FORBIDDEN: String(family) }, limitMs: 40_000 });
  };

  describe("without AF_PACKET", () => {
    it("large runs go over raw sockets, and -v says why", async () => {
      const { status, stdout, stderr } = await without(AF_PACKET, "-v", ...LARGE);
      expect(stdout).toMatch(/10,240 closed/);
      expect(stderr).toMatch(/raw-ip and not packet.*no packet sockets here \(EAFNOSUPPORT\)/);
      expect(status).toBe(0);
    });

    it("--link packet says so, with status 3", async () => {
      const { status, stderr } = await without(AF_PACKET, "--link", "packet", ...LARGE);
      expect(stderr).toMatch(/^synprobe: .*packet sockets.*EAFNOSUPPORT.*--link raw\n$/);
      expect(status).toBe(3);
    });

    it("doctor tells what a run would do", async () => {
      const { status, stdout } = await without(AF_PACKET, "doctor", "198.19.0.1:61");
      expect(stdout).toMatch(
        /info +packet sockets +refused \(EAFNOSUPPORT\): large runs go over raw sockets/,
      );
      expect(stdout).toMatch(/probing works from here/);
      expect(status).toBe(0);
    });
  });

  it.each([[["198.19.0.1:61"]], [["doctor"]], [["doctor", "198.19.0.1:61"]], [["trace", "198.19.0.1:61"]]])(
    "without AF_NETLINK %j ends with what to do, and status 3",
    async (words) => {
      const { status, stdout, stderr } = await without(AF_NETLINK, ...words);
      expect(stdout + stderr).toMatch(/may not ask the kernel for routes.*AF_NETLINK/);
      expect(stdout + stderr).toMatch(/RestrictAddressFamilies=/);
      expect(status).toBe(3);
    },
  );

  it.each([8, 12, 18])(
    "with %i descriptors to spare, several workers are too many: one line, and status 2",
    async (most) => {
      const words = synprobe("--link", "packet", "--workers", "4", ...LARGE);
      const { status, stderr } = await run(inNamespace(lab.near, withFiles(most, words)));
      expect(stderr).toMatch(/^synprobe: --workers 4 needs \d+ more open files.*ulimit -n.*\n$/);
      expect(status).toBe(2);
    },
  );

  describe("native code", () => {
    let installed = "";
    beforeAll(() => {
      installed = join(folder, "installed");
      mkdirSync(installed);
      cpSync(join(ROOT, "dist"), join(installed, "dist"), { recursive: true });
      cpSync(join(ROOT, "package.json"), join(installed, "package.json"));
    });
    const main = (): string => MAIN.replace(ROOT, `${installed}/`);
    const expectAdvice = ({ status, stderr }: Finished, what: RegExp): void => {
      expect(stderr).toMatch(/^synprobe: native code cannot be loaded \(.*\n$/);
      expect(stderr).toMatch(what);
      expect(status).toBe(3);
    };

    it("that is missing", async () => {
      expectAdvice(await run([process.execPath, main(), "127.0.0.1:1"]), /npm ci --include=optional/);
      const doctor = await run([process.execPath, main(), "doctor"]);
      expect(doctor.stdout).toMatch(/fail +native code +native code cannot be loaded/);
      expect(doctor.status).toBe(3);
      expect((await run([process.execPath, main(), "--version"])).status).toBe(0);
    });

    it("that lies on a file system where nothing may be executed, or that cannot be read", async () => {
      const modules = join(installed, "node_modules");
      for (const name of ["koffi", "@koromix"])
        cpSync(join(ROOT, "node_modules", name), join(modules, name), { recursive: true, dereference: true });
      const script =
        'mount -t tmpfs -o noexec none "$1" && cp -r "$2"/. "$1" && exec "$3" "$1/dist/synprobe.cjs" "$4"';
      const mountPoint = join(folder, "mounted");
      mkdirSync(mountPoint);
      const inside = ["sh", "-c", script, "sh", mountPoint, installed, process.execPath];
      expectAdvice(await run(["unshare", "-m", ...inside, "127.0.0.1:1"]), /noexec/);
      const doctor = await run(["unshare", "-m", ...inside, "doctor"]);
      expect(doctor.stdout).toMatch(/fail +native code.*\n +.*noexec/);
      expect(doctor.status).toBe(3);
      for (const name of command(["find", modules, "-name", "*.node"]).trim().split("\n"))
        command(["chmod", "000", name]);
      const powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
      expectAdvice(
        await run([...powerless, process.execPath, main(), "127.0.0.1:1"]),
        /let this user read the installation/,
      );
    });
  });
});
