/** The services database: names to ports and back, whatever the file holds. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseServices } from "../../../src/scan/targets/services.ts";

const DATABASE = `# Network services, Internet style
tcpmux\t\t1/tcp\t\t\t\t# TCP port service multiplexer
discard\t\t9/tcp\t\tsink null
ssh\t\t22/tcp
domain\t\t53/udp
domain\t\t53/tcp
tftp\t\t69/udp
  http  80/tcp  www # WorldWideWeb HTTP
web-cache\t80/tcp\twww squid
www\t\t8080/tcp
# rje 77/tcp
`;

describe("the services database", () => {
  const services = parseServices(DATABASE);

  test.each([
    ["ssh", 22],
    ["sink", 9],
    ["null", 9],
    ["domain", 53],
    ["squid", 80],
    ["www", 80],
  ])("%s is port %d", (name, port) => {
    expect(services.portOf(name)).toBe(port);
  });

  test.each(["SSH", "tftp", "rje", "nosuch", "", "#", "22", "22/tcp", "__proto__", "constructor"])(
    "%j is no tcp service",
    (name) => {
      expect(services.portOf(name)).toBeUndefined();
    },
  );

  test("a port has the official name of its first tcp entry", () => {
    expect(services.nameOf(80)).toBe("http");
    expect(services.nameOf(9)).toBe("discard");
    expect(services.nameOf(53)).toBe("domain");
    expect(services.nameOf(69)).toBeUndefined();
    expect(services.nameOf(77)).toBeUndefined();
  });

  test("reads the same with CRLF, and without a last line end", () => {
    const crlf = parseServices(DATABASE.replaceAll("\n", "\r\n").trimEnd());
    for (const name of ["tcpmux", "null", "squid", "www"]) {
      expect(crlf.portOf(name)).toBe(services.portOf(name));
    }
    expect(crlf.nameOf(22)).toBe("ssh");
  });

  test.each([
    "ssh",
    "ssh 22",
    "ssh /tcp",
    "ssh 0/tcp",
    "ssh 65536/tcp",
    "ssh 99999999999/tcp",
    "ssh -22/tcp",
    "ssh 2.2/tcp",
    "ssh 0x16/tcp",
    "ssh 22/TCP",
    "ssh 22/tcp6",
    "22/tcp ssh",
    "ssh # 22/tcp",
  ])("skips the line %j and reads on", (line) => {
    const found = parseServices(`${line}\nlast 65535/tcp\n`);
    expect(found.portOf("ssh")).toBeUndefined();
    expect(found.portOf("last")).toBe(65535);
  });

  test("never throws, and never gives a port outside 1-65535", () => {
    const name = fc.stringMatching(/^[a-z]{1,3}$/);
    const port = fc.integer({ min: -1, max: 70000 });
    const entry = fc
      .tuple(name, port, fc.constantFrom("tcp", "udp", ""))
      .map(([n, p, q]) => `${n} ${p}/${q}`);
    fc.assert(
      fc.property(fc.array(fc.oneof(entry, fc.string())), fc.array(name), (lines, names) => {
        const found = parseServices(lines.join("\n"));
        for (const asked of names) {
          const answer = found.portOf(asked) ?? 1;
          expect(answer).toBeGreaterThanOrEqual(1);
          expect(answer).toBeLessThanOrEqual(65535);
        }
      }),
    );
  });
});
