/**
 * Target lists: what each line says, in whatever pieces it comes; mistakes by file and line; files, pipes and standard
 * input.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ListSource, MAX_FAULTS, openList, readList } from "../../../src/runtime/plan/list-file.ts";
import { parseTargets } from "../../../src/scan/targets/grammar.ts";
import { parseServices } from "../../../src/scan/targets/services.ts";
import { formatAddress } from "../../../src/wire/address.ts";

const services = parseServices("ssh 22/tcp\n");

interface Found {
  /** `line address:port` of the plain ones, `origin text` of the others. */
  readonly targets: string[];
  readonly faults: string[];
}

async function read(source: ListSource): Promise<Found & { counts: { targets: number; faults: number } }> {
  const targets: string[] = [];
  const faults: string[] = [];
  const counts = await readList(source, services, {
    ipv4: (address, port, line) => {
      const bytes = Uint8Array.of(address >>> 24, address >>> 16, address >>> 8, address);
      targets.push(`${source.name}:${line} ${formatAddress(bytes)}${port === 0 ? "" : `:${port}`}`);
    },
    target: ({ text, origin }) => targets.push(`${origin} ${text}`),
    fault: (error) => faults.push(error.message),
  });
  return { targets, faults, counts };
}

/** A list in memory, in pieces of any length; the buffer is used again for each, as a file's is. */
const inPieces = (bytes: Uint8Array, pieceLength: number): ListSource => ({
  name: "l",
  chunks: (async function* () {
    const buffer = new Uint8Array(pieceLength);
    for (let at = 0; at < bytes.length; at += pieceLength) {
      const piece = bytes.subarray(at, at + pieceLength);
      buffer.fill(0xa5);
      buffer.set(piece);
      yield buffer.subarray(0, piece.length);
    }
  })(),
});

const list = (text: string | Uint8Array, pieceLength = 1 << 16) =>
  read(inPieces(typeof text === "string" ? Buffer.from(text) : text, pieceLength));

const bytes = (...parts: readonly (string | readonly number[])[]): Uint8Array =>
  Buffer.concat(parts.map((part) => Buffer.from(part as string)));

describe("a list", () => {
  it("has one or more targets a line, comments and blank lines", async () => {
    const { targets, faults, counts } = await list(
      "# head\n198.18.0.1:22\n\n  198.18.0.2:80\t198.18.0.3:81 # why\n198.18.0.4#x\n#198.18.0.9\n[2001:db8::1]:ssh",
    );
    expect(targets).toEqual([
      "l:2 198.18.0.1:22",
      "l:4 198.18.0.2:80",
      "l:4 198.18.0.3:81",
      "l:5 198.18.0.4",
      "l:7 [2001:db8::1]:ssh",
    ]);
    expect(faults).toEqual([]);
    expect(counts).toEqual({ targets: 5, faults: 0 });
  });

  it.each([
    ["CR LF", "198.18.0.1:1\r\nlocalhost:2\r\n\r\nx y\r\n"],
    ["CR", "198.18.0.1:1\rlocalhost:2\r\rx y\r"],
    ["LF", "198.18.0.1:1\nlocalhost:2\n\nx y\n"],
    ["no line end behind the last", "198.18.0.1:1\nlocalhost:2\n\nx y"],
    ["blanks before them", "198.18.0.1:1 \nlocalhost:2\v\f\t\n \nx y"],
    ["a byte order mark", "\uFEFF198.18.0.1:1\nlocalhost:2\n\nx y"],
    ["a byte order mark of each of two files", "\uFEFF198.18.0.1:1\n\uFEFFlocalhost:2\n\nx \uFEFFy"],
  ])("may have lines that end in %s", async (_, text) => {
    for (const pieceLength of [1, 2, 3, 5, 100]) {
      const { targets, faults } = await list(text, pieceLength);
      expect(faults).toEqual([]);
      expect(targets).toEqual(["l:1 198.18.0.1:1", "l:2 localhost:2", "l:4 x", "l:4 y"]);
    }
  });

  it("may have masscan's comments, lines of their own: behind a target they are a mistake, as they may be meant otherwise", async () => {
    const text = "; head 198.18.0.9\n198.18.0.1:22\n  // ssh, not 198.18.0.8\n//\n;x\xe9 y\r\nlocalhost:2\n";
    for (const pieceLength of [1, 2, 3, 5, 100]) {
      const { targets, faults } = await list(Buffer.from(text, "latin1"), pieceLength);
      expect(faults).toEqual([]);
      expect(targets).toEqual(["l:2 198.18.0.1:22", "l:6 localhost:2"]);
      const behind = await list("198.18.0.1 ; 198.18.0.2\n", pieceLength);
      expect(behind.faults).toEqual([expect.stringContaining('l:1: target ";"')]);
      expect(behind.targets).toEqual(["l:1 198.18.0.1", "l:1 198.18.0.2"]);
    }
  });

  it("of nothing has none", async () => {
    for (const text of ["", "\n", "\uFEFF", "# nothing", " \r\n\t"])
      expect((await list(text)).counts).toEqual({ targets: 0, faults: 0 });
  });

  it("takes its plain lines for what the grammar says of them", async () => {
    const digits = fc.oneof(
      fc.constantFrom(
        "0",
        "00",
        "01",
        "9",
        "255",
        "256",
        "1000",
        "",
        "65535",
        "65536",
        "065",
        "99999999999999",
      ),
      fc.nat(300).map(String),
    );
    const word = fc
      .tuple(
        fc.array(digits, { minLength: 3, maxLength: 5 }),
        fc.option(digits),
        fc.constantFrom("", ".", ":", "x"),
      )
      .map(([octets, port, tail]) => `${octets.join(".")}${port === null ? "" : `:${port}`}${tail}`);
    await fc.assert(
      fc.asyncProperty(word, fc.integer({ min: 1, max: 30 }), async (text, pieceLength) => {
        const plain = await list(`${text}\n`, pieceLength);
        try {
          const { host, ports } = parseTargets(text, services);
          const said = host.kind === "address" ? formatAddress(host.address) : text;
          const expected =
            ports === undefined || host.kind !== "address" ? said : `${said}:${[...ports].join()}`;
          expect(plain.faults).toEqual([]);
          expect(plain.targets.map((target) => target.replace(/:0+(\d)/, ":$1"))).toEqual([
            `l:1 ${expected}`,
          ]);
        } catch (error) {
          if (!(error instanceof Error) || error.name !== "SynprobeError") throw error;
          expect(plain.faults).toEqual([`l:1: ${error.message}`]);
          expect(plain.targets).toEqual([]);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("is read alike whatever pieces it comes in", async () => {
    const piece = fc.constantFrom(
      "198.18.0.1:22",
      "198.18.0.0/24:80",
      "name.test",
      "198.18.0.300",
      "#",
      " ",
      "\n",
      "\r",
      "\r\n",
      "\u00fc",
      "[2001:db8::1]:1",
      "\0",
      ":",
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(piece, { maxLength: 40 }),
        fc.integer({ min: 1, max: 40 }),
        async (parts, length) => {
          const text = parts.join("");
          // What is refused as no text at all is refused either way.
          const outcome = (reading: ReturnType<typeof list>) =>
            reading.catch((error: Error) => error.message);
          expect(await outcome(list(text, length))).toEqual(await outcome(list(text)));
        },
      ),
    );
  });

  it("may have a line of a megabyte, if its targets are short", async () => {
    const { targets, faults } = await list("198.18.0.1:1 a.test ".repeat(50_000));
    expect(targets).toHaveLength(100_000);
    expect(faults).toEqual([]);
  });

  it("of a hundred thousand lines gives each one", async () => {
    let text = "";
    for (let i = 0; i < 100_000; i++) text += `198.18.${(i >> 8) & 255}.${i & 255}:${1 + (i % 65_535)}\n`;
    const { targets, counts } = await list(text, 4099);
    expect(counts).toEqual({ targets: 100_000, faults: 0 });
    expect(targets[0]).toBe("l:1 198.18.0.0:1");
    expect(targets[99_999]).toBe("l:100000 198.18.134.159:34465");
    expect(new Set(targets).size).toBe(100_000);
  });
});

describe("what is wrong in a list", () => {
  it("is reported with file and line, and the rest is kept", async () => {
    const { targets, faults } = await list("198.18.0.1:22\n198.18.0.1:0\nx:y\n198.18.0.2:80\n");
    expect(targets).toEqual(["l:1 198.18.0.1:22", "l:4 198.18.0.2:80"]);
    expect(faults).toEqual([
      'l:2: target "198.18.0.1:0": port 0 is out of range: ports are 1 to 65535',
      expect.stringMatching(/^l:3: target "x:y": no TCP service named "y"/),
    ]);
  });

  it("may be bytes that are no UTF-8, which are shown escaped", async () => {
    const { targets, faults } = await list(
      bytes("a.test\nb", [0xfc], "cher.test:80\n\x1b", [0xff, 0x90], "\nb.test"),
    );
    expect(targets).toEqual(["l:1 a.test", "l:4 b.test"]);
    expect(faults).toEqual([
      'l:2: target "b\\xfccher.test:80": it is not UTF-8 text: save the list as UTF-8',
      'l:3: target "\\x1b\\xff\\x90": it is not UTF-8 text: save the list as UTF-8',
    ]);
  });

  it("may be a NUL", async () => {
    const { targets, faults } = await list("198.18.0.1:80\0\n198.18.0.2\0:80\n198.18.0.3:80\n");
    expect(targets).toEqual(["l:3 198.18.0.3:80"]);
    expect(faults).toEqual([
      expect.stringMatching(/^l:1: target .* no TCP service/),
      expect.stringMatching(/^l:2: target .* neither an address nor a host name/),
    ]);
  });

  it("may be a target of a megabyte, of which the beginning is shown", async () => {
    for (const pieceLength of [1000, 1 << 22]) {
      const { targets, faults } = await list(`a.test\n${"x".repeat(1 << 20)}\nb.test # c`, pieceLength);
      expect(targets).toEqual(["l:1 a.test", "l:3 b.test"]);
      expect(faults).toHaveLength(1);
      expect(faults[0]).toMatch(/^l:2: target "x{60}…": it is longer than 262,144 bytes$/);
      expect(faults[0].length).toBeLessThan(300);
    }
  });

  it("is reported a hundred times, and counted from then on", async () => {
    const { targets, faults, counts } = await list(`${":\n".repeat(1000)}a.test\n`);
    expect(faults).toHaveLength(MAX_FAULTS);
    expect(counts).toEqual({ targets: 1, faults: 1000 });
    expect(targets).toEqual(["l:1001 a.test"]);
  });

  it("stops the reading when the sink throws", async () => {
    let closed = false;
    const source: ListSource = {
      name: "l",
      chunks: (async function* () {
        try {
          for (;;) yield Buffer.from(":\n".repeat(5000));
        } finally {
          closed = true;
        }
      })(),
    };
    const sink = {
      ipv4: () => {},
      target: () => {},
      fault: (error: Error) => {
        throw error;
      },
    };
    await expect(readList(source, services, sink)).rejects.toThrow(/^l:1: target ":"/);
    expect(closed).toBe(true);
  });

  it.each([
    ["gzip", bytes([0x1f, 0x8b, 8, 0, 0]), /it is compressed: gzip -dc FILE/],
    ["zstd", bytes([0x28, 0xb5, 0x2f, 0xfd, 4]), /it is compressed: zstd -dc FILE/],
    ["xz", bytes([0xfd], "7zXZ", [0]), /it is compressed: xz -dc FILE/],
    ["UTF-16", bytes([0xff, 0xfe], "1\x009\x008\x00"), /it is UTF-16 text: iconv/],
    ["a program", bytes("\x7fELF", new Array(5000).fill(0)), /it is not text/],
    [
      "nmap's XML",
      Buffer.from('<?xml version="1.0"?>\n<nmaprun>'),
      /it has a run's results, which -iR takes/,
    ],
    ["NDJSON", Buffer.from('{"type":"result","ip":"198.18.0.1"}\n'), /it has a run's results/],
    ["masscan's JSON", Buffer.from('[\n{   "ip": "198.18.0.1" }'), /it has a run's results/],
    [
      "masscan's list",
      Buffer.from("#masscan\nopen tcp 80 198.18.0.1 1796035193\n"),
      /it has a run's results/,
    ],
    ["nmap's -oG", Buffer.from("# Nmap 7.93 scan initiated Mon Nov 30\nHost: "), /it has a run's results/],
    ["UTF-16 without its mark", Buffer.from("198.18.0.1:80\n198.18.0.2:80\n", "utf16le"), /it is not text/],
  ])("may be all of it: %s", async (_, content, message) => {
    for (const pieceLength of [1, 1 << 16]) await expect(list(content, pieceLength)).rejects.toThrow(message);
  });

  it("is no run's results for a comment that has a scanner's name", async () => {
    const content = Buffer.from("#masscan targets of June\n198.18.0.1:80\n");
    for (const pieceLength of [1, 1 << 16]) await expect(list(content, pieceLength)).resolves.toBeDefined();
  });
});

describe("a list's source", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-list-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("is a file", async () => {
    const file = join(folder, "hosts.txt");
    writeFileSync(file, `198.18.0.1:22\n${"# filler\n".repeat(40_000)}a.test\n`);
    const { targets } = await read(openList(file));
    expect(targets).toEqual([`${file}:1 198.18.0.1:22`, `${file}:40002 a.test`]);
  });

  it("that cannot be opened says why, at once", () => {
    expect(() => openList(join(folder, "none"))).toThrow(
      /cannot read the list .*none: there is no such file/,
    );
    expect(() => openList(folder)).toThrow(/cannot read the list .*: it is a directory/);
  });

  it("is standard input, which is waited for", async () => {
    const script = `
      import { openList, readList } from ${JSON.stringify(new URL("../../../src/runtime/plan/list-file.ts", import.meta.url).href)};
      const print = (text) => process.stdout.write(text + "\\n");
      const source = openList("-");
      print("opened");
      const sink = { ipv4: (address, port) => print((address >>> 0) + ":" + port), target: ({ origin }) => print(origin), fault: (e) => print(e.message) };
      readList(source, { portOf: () => undefined, nameOf: () => undefined }, sink).then(({ targets }) => print("read " + targets));
    `;
    const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
      // Only when it is waiting for them do the targets come, the second in two parts.
      if (output.endsWith("opened\n")) child.stdin.write("198.18.0.1:80\nna");
      setImmediate(() => child.stdin.end("me.test\n"));
    });
    const status = await new Promise((resolve) => child.on("close", resolve));
    expect(output).toBe("opened\n3323068417:80\n<stdin>:2\nread 2\n");
    expect(status).toBe(0);
  });
});
