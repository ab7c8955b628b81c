/** The SYN that is sent: every field and checksum, against codecs that work them out anew. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createSynTemplate } from "../../../src/scan/probe/syn-template.ts";
import { loadAddress } from "../../../src/socket/table.ts";
import { pseudoSum4, pseudoSum6 } from "../../../src/wire/checksum.ts";
import * as ipv4 from "../../../src/wire/ipv4.ts";
import * as ipv6 from "../../../src/wire/ipv6.ts";
import { PROTOCOL } from "../../../src/wire/protocol.ts";
import * as tcp from "../../../src/wire/tcp.ts";
import { parseOptions } from "../../../src/wire/tcp-options.ts";
import { golden } from "../../golden/golden.ts";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const port = fc.integer({ min: 1, max: 65_535 });
const word = fc.nat(0xffff_ffff);

describe("the probe", () => {
  it("over IPv4 is a SYN with MSS 1460 whose every field and checksum is right", () => {
    fc.assert(
      fc.property(
        bytes(4),
        bytes(4),
        port,
        port,
        word,
        fc.nat(65_535),
        (local, peer, from, to, sequence, identification) => {
          const template = createSynTemplate(local, 55);
          const out = new Uint8Array(template.length + 8).fill(0xa5);
          const words = new Uint32Array(4);
          loadAddress(words, 0, peer, 0, 4);
          template.write(out, 4, words, 0, from, to, sequence, identification);
          expect([...out.subarray(0, 4), ...out.subarray(-4)]).toEqual(Array(8).fill(0xa5));
          const end = 4 + template.length;
          expect(ipv4.parse(out, 4, end)).toMatchObject({
            source: local,
            destination: peer,
            ttl: 55,
            protocol: PROTOCOL.TCP,
            identification,
            dontFragment: true,
            moreFragments: false,
            totalLength: 44,
          });
          expect(ipv4.verifyChecksum(out, 4)).toBe(true);
          const pseudo = pseudoSum4(out, 4 + ipv4.SOURCE, 4 + ipv4.DESTINATION, PROTOCOL.TCP, 24);
          expect(tcp.verifyChecksum(out, 24, end, pseudo)).toBe("good");
          expect(tcp.parse(out, 24, end)).toMatchObject({
            sourcePort: from,
            destinationPort: to,
            sequence,
            acknowledgement: 0,
            flags: tcp.FLAGS.SYN,
            window: 1024,
            urgentPointer: 0,
          });
          expect(parseOptions(out, 44, end)).toEqual({
            options: [{ kind: "mss", value: 1460 }],
            malformed: false,
          });
        },
      ),
    );
  });

  it("over IPv6 likewise, with MSS 1440", () => {
    fc.assert(
      fc.property(bytes(16), bytes(16), port, port, word, (local, peer, from, to, sequence) => {
        const template = createSynTemplate(local, 64);
        const out = new Uint8Array(template.length).fill(0xa5);
        const words = new Uint32Array(4);
        loadAddress(words, 0, peer, 0, 16);
        template.write(out, 0, words, 0, from, to, sequence, 0);
        expect(ipv6.parse(out, 0, out.length)).toEqual({
          trafficClass: 0,
          flowLabel: 0,
          payloadLength: 24,
          nextHeader: PROTOCOL.TCP,
          hopLimit: 64,
          source: local,
          destination: peer,
        });
        const pseudo = pseudoSum6(out, ipv6.SOURCE, ipv6.DESTINATION, PROTOCOL.TCP, 24);
        expect(tcp.verifyChecksum(out, 40, out.length, pseudo)).toBe("good");
        expect(tcp.parse(out, 40, out.length)).toMatchObject({
          sourcePort: from,
          destinationPort: to,
          sequence,
        });
        expect(parseOptions(out, 60, out.length).options).toEqual([{ kind: "mss", value: 1440 }]);
      }),
    );
  });

  it.each([4, 6] as const)(
    "with a time stamp offers over IPv%i what a Linux kernel does, as it does",
    (family) => {
      const ip = family === 4 ? ipv4.HEADER_LENGTH : ipv6.HEADER_LENGTH;
      const optionsOf = (b: Uint8Array) => parseOptions(b, ip + tcp.HEADER_LENGTH, b.length).options;
      const kernels = golden(`syn.ipv${family}`);
      const template = createSynTemplate(new Uint8Array(family === 4 ? 4 : 16), 64, {
        timestamp: 0xfedc_ba98,
      });
      const out = new Uint8Array(template.length);
      template.write(out, 0, Uint32Array.of(0, 0, 0, 1), 0, 1, 2, 3, 4);
      expect(out).toHaveLength(kernels.length);
      expect(tcp.window(out, ip)).toBe(tcp.window(kernels, ip));
      // That kernel's clock, and its shift, which follows from the memory that it may take for a socket (net.ipv4.tcp_rmem).
      const ours = { timestamps: { value: 0xfedc_ba98 }, "window-scale": { shift: 7 } };
      expect(optionsOf(out)).toEqual(
        optionsOf(kernels).map((option) => ({ ...option, ...ours[option.kind as keyof typeof ours] })),
      );
      const pseudo =
        family === 4
          ? pseudoSum4(out, ipv4.SOURCE, ipv4.DESTINATION, PROTOCOL.TCP, out.length - ip)
          : pseudoSum6(out, ipv6.SOURCE, ipv6.DESTINATION, PROTOCOL.TCP, out.length - ip);
      expect(tcp.verifyChecksum(out, ip, out.length, pseudo)).toBe("good");
    },
  );
});
