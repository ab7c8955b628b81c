/**
 * What flood.test.ts starts in the far namespace: forged and foreign packets for the prober, as fast as it is told, until
 * SIGTERM or its limit. None of them proves anything, so none may decide anything.
 *
 * Prints "flooding" after the first batch, and at its end one Flooded as JSON.
 */
import { HOST, PEER, writeIcmpError, writeSegment } from "../../src/lab/answer.ts";
import { openEthernet } from "../../src/link/ethernet.ts";
import { monotonicUs } from "../../src/link/sys/libc.ts";
import { loadAddress } from "../../src/socket/table.ts";
import { parseAddress } from "../../src/wire/address.ts";
import { putU16 } from "../../src/wire/bytes.ts";
import * as ethernet from "../../src/wire/ethernet.ts";
import * as icmp from "../../src/wire/icmp.ts";
import * as icmpv6 from "../../src/wire/icmpv6.ts";
import * as ipv4 from "../../src/wire/ipv4.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { createSeededRandom } from "../sim/random.ts";

/** The command line's only argument, as JSON. */
export interface Flood {
  readonly device: string;
  readonly mac: string;
  /** Where the prober is, and which ports it sends from. */
  readonly prober: { readonly ipv4: string; readonly ipv6: string };
  readonly ports: readonly [first: number, last: number];
  /** What is scanned: hosts from this address on, and ports from this one on. */
  readonly host: string;
  readonly hosts: number;
  readonly port: number;
  readonly portCount: number;
  readonly perSecond: number;
  readonly seconds: number;
}

export interface Flooded {
  readonly sent: number;
  readonly seconds: number;
}

const NOTHING = [[0x06, 0, 0, 0]] as const;
/** Not the TTL that the scanned hosts' own packets have. */
const TTL = 55;
const { SYN, ACK, RST, FIN } = tcp.FLAGS;

async function flood(setting: Flood): Promise<void> {
  const { ports, hosts, portCount, perSecond } = setting;
  const random = createSeededRandom(7);
  const word = (): number => random(2 ** 32);
  const localPort = (): number => ports[0] + random(ports[1] - ports[0] + 1);

  const scanned = pairOf(setting.host, setting.prober.ipv4);
  const firstHost = scanned[HOST + 3];
  const foreign = pairOf("198.18.77.1", setting.prober.ipv4);
  const foreign6 = pairOf("2001:db8:77::1", setting.prober.ipv6);
  const probe = new Uint32Array(8);
  const quoted = new Uint8Array(128);

  /** A segment from a pair that is scanned, to a port that the prober may have used for it. */
  const segment = (out: Uint8Array, flags: number): number => {
    scanned[HOST + 3] = firstHost + random(hosts);
    const peerPort = setting.port + random(portCount);
    return writeSegment(
      out,
      scanned,
      (peerPort << 16) | localPort(),
      TTL,
      flags,
      word(),
      word(),
      65_535,
      1460,
    );
  };
  /** An ICMP error about a SYN that the prober never sent. */
  const icmpError = (out: Uint8Array, pair: Uint32Array, type: number, code: number): number => {
    probe.set(pair.subarray(PEER, PEER + 4), HOST);
    probe.set(pair.subarray(HOST, HOST + 4), PEER);
    const peerPort = setting.port + random(portCount);
    const length = writeSegment(quoted, probe, (localPort() << 16) | peerPort, TTL, SYN, word(), 0, 1024, 0);
    return writeIcmpError(out, pair, TTL, type, code, quoted, 0, length);
  };
  const spoil = (out: Uint8Array, length: number, at: number): number => {
    out[at] ^= 0x55;
    return length;
  };
  const unreachable = (out: Uint8Array): number => {
    scanned[HOST + 3] = firstHost + random(hosts);
    return icmpError(out, scanned, icmp.TYPE.DESTINATION_UNREACHABLE, random(14));
  };
  // No bare SYN of a scanned pair: for a port that stays silent the engine takes one as a simultaneous open, unproved as it is
  // (holdSplitSyn in scan/engine/engine.ts).
  const forge: readonly ((out: Uint8Array) => number)[] = [
    (out) => segment(out, SYN | ACK),
    (out) => segment(out, RST | ACK),
    (out) => segment(out, RST),
    (out) => segment(out, SYN | FIN | ACK),
    (out) => segment(out, SYN | RST),
    (out) => spoil(out, segment(out, SYN | ACK), ipv4.HEADER_LENGTH + tcp.CHECKSUM),
    (out) => spoil(out, segment(out, SYN | ACK), ipv4.CHECKSUM),
    (out) => Math.min(segment(out, SYN | ACK), ipv4.HEADER_LENGTH + 4 + random(16)),
    unreachable,
    (out) => Math.min(unreachable(out), ipv4.HEADER_LENGTH + icmp.HEADER_LENGTH + 24 + random(4)),
    (out) => icmpError(out, foreign6, icmpv6.TYPE.DESTINATION_UNREACHABLE, random(7)),
    (out) => writeSegment(out, foreign, (443 << 16) | localPort(), TTL, SYN | ACK, word(), word(), 65_535, 0),
    (out) => writeSegment(out, foreign, (443 << 16) | localPort(), TTL, SYN, word(), 0, 65_535, 0),
    // For the filter: to a port that is not the prober's.
    (out) => writeSegment(out, foreign, (443 << 16) | 50_000, TTL, SYN | ACK, word(), word(), 65_535, 0),
  ];

  const link = await openEthernet({ interfaceName: setting.device, filter: NOTHING });
  const { data, lengths, slots, slotLength } = link.batch;
  const mac = ethernet.parseMac(setting.mac);
  if (mac === undefined) throw new Error(`not a hardware address: ${setting.mac}`);
  const packets = Array.from({ length: slots }, (_, slot) => {
    data.set(mac, slot * slotLength + ethernet.DESTINATION);
    return data.subarray(slot * slotLength + ethernet.HEADER_LENGTH, (slot + 1) * slotLength);
  });
  const fill = (): void => {
    packets.forEach((packet, slot) => {
      const length = forge[random(forge.length)](packet);
      const type = packet[0] >> 4 === 6 ? ethernet.ETHERTYPE.IPV6 : ethernet.ETHERTYPE.IPV4;
      putU16(data, slot * slotLength + ethernet.ETHERTYPE_AT, type);
      lengths[slot] = ethernet.HEADER_LENGTH + length;
    });
  };

  let stopped = false;
  process.once("SIGTERM", () => {
    stopped = true;
  });
  const start = monotonicUs();
  const end = start + setting.seconds * 1e6;
  let sent = 0;
  const turn = (): void => {
    const now = monotonicUs();
    if (stopped || now >= end) {
      link.close();
      console.log(JSON.stringify({ sent, seconds: (now - start) / 1e6 } satisfies Flooded));
      return;
    }
    const early = start + (sent / perSecond) * 1e6 - now;
    if (early > 0) link.wait(early);
    fill();
    // Frames that find no room are not sent again.
    sent += link.send(0, slots);
    if (sent === slots) console.log("flooding");
    setImmediate(turn);
  };
  turn();
}

/** Sender and receiver, as writeSegment wants them. */
function pairOf(host: string, peer: string): Uint32Array {
  const pair = new Uint32Array(8);
  for (const [at, text] of [
    [HOST, host],
    [PEER, peer],
  ] as const) {
    const address = parseAddress(text);
    if (address === undefined) throw new Error(`not an address: ${text}`);
    loadAddress(pair, at, address, 0, address.length);
  }
  return pair;
}

await flood(JSON.parse(process.argv[2] ?? ""));
