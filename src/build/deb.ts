/**
 * `npm run deb` makes synprobe_VERSION_ARCH.deb of what has been built: the command line with its manual, help and completions,
 * koffi's binary, and libsql for stores. Not the library, which is npm's. Without raw-socket: it would be compiled for one version of Node, and libc opens
 * the same sockets (native-notes/raw-socket.md). `node --import tsx src/build/deb.ts FOLDER` puts it into another folder.
 *
 * The same sources make the same package, to the byte.
 */
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { arch, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const { name, version, description } = JSON.parse(readFileSync(`${ROOT}package.json`, "utf8")) as Readonly<
  Record<"name" | "version" | "description", string>
>;
/** Of Node's names those that Debian spells otherwise. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", ia32: "i386", arm: "armhf" };
const ARCHITECTURE = ARCHITECTURES[arch()] ?? arch();
const BINARY = `node_modules/@koromix/koffi-linux-${arch()}/linux_${arch()}`;
/** libsql, and what it loads: its binary for Debian's C library. */
const STORES = [
  "libsql",
  "@neon-rs/load",
  "detect-libc",
  `@libsql/linux-${arch()}-${arch() === "arm" ? "gnueabihf" : "gnu"}`,
]
  .map((each) => `node_modules/${each}`)
  // Optional, and npm may put one package into another.
  .filter((path) => existsSync(join(ROOT, path)));
/** When all of it was made, in seconds since the Unix epoch: as npm says of its packages. */
const MADE = "499162500";

const CONTROL = `Package: ${name}
Version: ${version}
Architecture: ${ARCHITECTURE}
Maintainer: the synprobe authors
Depends: nodejs (>= 20), libc6
Section: net
Priority: optional
Description: ${description}
`;
// The code's owner makes the compiled functions (start.ts): here, so that everybody's start is the faster one. They are no file of the
// package, so they go with it by hand. Most users' Node is Debian's, whatever whoever installs has first on the path.
const SCRIPTS = {
  postinst: `#!/bin/sh
if [ "$1" = configure ]; then PATH="/usr/bin:$PATH" "$DPKG_ROOT/usr/bin/synprobe" --version >/dev/null 2>&1 || true; fi
`,
  prerm: `#!/bin/sh
rm -f "$DPKG_ROOT"/usr/lib/synprobe/dist/*.cache
`,
};

const tree = mkdtempSync(join(tmpdir(), "synprobe-deb-"));
const put = (path: string, content: string | Buffer, mode = 0o644): void => {
  mkdirSync(dirname(join(tree, path)), { recursive: true });
  writeFileSync(join(tree, path), content, { mode });
};
const copy = (from: string, to = `usr/lib/synprobe/${from}`): void =>
  cpSync(join(ROOT, from), join(tree, to), { recursive: true });
const ask = (...words: string[]): string =>
  execFileSync(process.execPath, [join(ROOT, "dist/synprobe.cjs"), ...words], { encoding: "utf8" });

try {
  put("DEBIAN/control", CONTROL);
  for (const [script, text] of Object.entries(SCRIPTS)) put(`DEBIAN/${script}`, text, 0o755);
  const programs = readdirSync(join(ROOT, "dist")).filter((name) => /\.(cjs|code)$/.test(name));
  for (const name of programs) copy(`dist/${name}`);
  for (const path of ["package.json", "dist/commands", "dist/topics", "dist/bin", BINARY, ...STORES])
    copy(path);
  mkdirSync(join(tree, "usr/bin"));
  symlinkSync("../lib/synprobe/dist/synprobe.cjs", join(tree, "usr/bin/synprobe"));
  put("usr/share/man/man1/synprobe.1.gz", gzipSync(readFileSync(join(ROOT, "dist/synprobe.1"))));
  put("usr/share/bash-completion/completions/synprobe", ask("completion", "bash"));
  put("usr/share/zsh/vendor-completions/_synprobe", ask("completion", "zsh"));
  put("usr/share/fish/vendor_completions.d/synprobe.fish", ask("completion", "fish"));
  copy("LICENSE", "usr/share/doc/synprobe/copyright");
  put("usr/share/doc/synprobe/changelog.gz", gzipSync(readFileSync(join(ROOT, "native-notes/changelog.md"))));
  execFileSync("chmod", ["-R", "u=rwX,go=rX", tree]);
  const file = join(resolve(process.argv[2] ?? ROOT), `${name}_${version}_${ARCHITECTURE}.deb`);
  execFileSync("dpkg-deb", ["--root-owner-group", "--build", tree, file], {
    env: { ...process.env, SOURCE_DATE_EPOCH: MADE },
  });
  console.log(file);
} finally {
  rmSync(tree, { recursive: true });
}
