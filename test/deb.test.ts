/** The Debian package: dpkg installs it, it runs for everybody with its help and its manual, and nothing of it is left when it is removed. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ENVIRONMENT, ROOT, run } from "./cli/process.ts";
import { ALL } from "./everyday.ts";
import { skipping } from "./lab/netns.ts";

const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
const lacking = ["dpkg", "dpkg-deb"].filter((tool) => spawnSync(tool, ["--version"]).error !== undefined);
const problem = lacking.length > 0 ? `${lacking.join(", ")} missing` : undefined;

describe.skipIf(!ALL || skipping("the Debian package", problem))("the Debian package", () => {
  let folder = "";
  let file = "";
  const build = (into: string): string => {
    mkdirSync(into);
    const made = ["--import", "tsx", "src/build/deb.ts", into];
    return execFileSync(process.execPath, made, { cwd: ROOT, encoding: "utf8" }).trim();
  };
  /** dpkg on a system of its own, an empty one: it has no Node. */
  const dpkg = (...words: string[]): string => {
    const forced = "--force-depends,not-root,script-chrootless";
    return execFileSync("dpkg", [forced, `--root=${join(folder, "root")}`, "--log=/dev/null", ...words], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      env: ENVIRONMENT,
    });
  };
  /** Paths of files, from the root. */
  const installed = (): string[] =>
    readdirSync(join(folder, "root"), { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map(({ parentPath, name }) => join(parentPath, name).slice(join(folder, "root").length))
      .filter((path) => !path.startsWith("/var/lib/dpkg/"))
      .sort();
  const synprobe = (...words: string[]) => run([join(folder, "root/usr/bin/synprobe"), ...words]);

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-deb-test-"));
    for (const part of ["updates", "info"])
      mkdirSync(join(folder, "root/var/lib/dpkg", part), { recursive: true });
    writeFileSync(join(folder, "root/var/lib/dpkg/status"), "");
    file = build(join(folder, "made"));
    dpkg("--install", file);
  }, 60_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("is of this version, and needs a Node that synprobe runs on", () => {
    expect(basename(file)).toMatch(new RegExp(`^synprobe_${version}_[a-z0-9]+\\.deb$`));
    const fields = dpkg("--status", "synprobe");
    expect(fields).toContain("Status: install ok installed");
    expect(fields).toMatch(/^Depends: nodejs \(>= 20\)/m);
  });

  it("has the program, its manual and what completes its words, and compiles it where it is", () => {
    const paths = installed();
    for (const path of [
      "/usr/share/man/man1/synprobe.1.gz",
      "/usr/share/bash-completion/completions/synprobe",
      "/usr/share/zsh/vendor-completions/_synprobe",
      "/usr/share/fish/vendor_completions.d/synprobe.fish",
      "/usr/share/doc/synprobe/copyright",
    ])
      expect(paths).toContain(path);
    const of = (kind: string): string[] => paths.filter((path) => path.endsWith(kind));
    expect(of(".cache")).toHaveLength(of(".code").length);
    const manual = gunzipSync(readFileSync(join(folder, "root/usr/share/man/man1/synprobe.1.gz")));
    expect(manual.toString()).toMatch(/^\.TH SYNPROBE 1/m);
  });

  it("runs: its help, its commands, and a probe", async () => {
    expect(await synprobe("--version")).toMatchObject({ status: 0, stdout: `${version}\n`, stderr: "" });
    const topic = await synprobe("help", "links");
    expect(topic).toMatchObject({ status: 0, stderr: "" });
    expect(topic.stdout).toContain("Without privilege");
    expect(await synprobe("diff", "/dev/null", "/dev/null")).toMatchObject({ status: 2 });
    const probed = await synprobe("--link", "connect", "-oJ", "-", "127.0.0.1:1");
    expect(probed).toMatchObject({ status: 0, stderr: "" });
    expect(JSON.parse(probed.stdout.split("\n")[0])).toMatchObject({ port: 1, reason: "conn-refused" });
  });

  it("has a store, and watches", async () => {
    const store = join(folder, "history.db");
    const watched = await synprobe(
      ...["watch", "--link", "connect", "127.0.0.1:1", "--store", store, "--rounds", "1"],
      ...["--cron", "*/2 * * * * *", "--metrics", "127.0.0.1:0"],
    );
    expect(watched).toMatchObject({ status: 0 });
    const asked = await synprobe("history", "127.0.0.1", "--store", store);
    expect(asked).toMatchObject({ status: 0, stderr: "" });
    expect(asked.stdout).toContain("closed (conn-refused)");
  });

  it("leaves nothing behind when it is removed", () => {
    dpkg("--purge", "synprobe");
    expect(installed()).toEqual([]);
  });

  it("is the same to the byte, whenever it is made", () => {
    expect(readFileSync(build(join(folder, "again"))).equals(readFileSync(file))).toBe(true);
  });
});
