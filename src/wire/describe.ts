/**
 * One packet, one line: for `--packet-trace`, for test failures, for a reader's eye.
 *
 *     192.0.2.1:61003 > 192.0.2.10:80 TCP SYN seq=123 win=1024 <mss 1460> ttl=64 len=44
 *     192.0.2.254 > 192.0.2.1 ICMP host-unreach for 192.0.2.1:61003 > 192.0.2.10:81 TCP seq=123 ttl=64 len=72
 *
 * Any bytes get a line; where they cannot be read, it says what is wrong. The line is
 * printable ASCII, made of names and numbers only: no payload and no text from the network is in it. Nothing
 * parses it; results have types of their own.
 */
import { formatAddress, formatEndpoint } from "./address.ts";
import { u16 } from "./bytes.ts";
import { pseudoSum4, pseudoSum6 } from "./checksum.ts";
import * as icmp from "./icmp.ts";
import * as icmpv6 from "./icmpv6.ts";
import * as ipv4 from "./ipv4.ts";
import * as ipv6 from "./ipv6.ts";
import { PROTOCOL } from "./protocol.ts";
import { newQuote, type Quote } from "./quote.ts";
import * as tcp from "./tcp.ts";
import { parseOptions, type TcpOption } from "./tcp-options.ts";

/**
 * The IP packet that starts at `at`, in one line without its newline. Bytes after its own length are ignored.
 */
export function describePacket(b: Uint8Array, at: number, end: number): string {
  if (at >= end) return "empty packet";
  const version = b[at] >>> 4;
  if (version === 4) return describeIpv4(b, at, end);
  if (version === 6) return describeIpv6(b, at, end);
  return `IP version ${version} len=${end - at}`;
}

/** The upper layer of one packet, and what its line needs to know of the IP header. */
interface Payload {
  readonly b: Uint8Array;
  readonly at: number;
  readonly end: number;
  readonly protocol: number;
  readonly source: string;
  readonly destination: string;
  /** The pseudo-header's partial sum. */
  readonly pseudoSum: number;
}

function describeIpv4(b: Uint8Array, at: number, end: number): string {
  const available = end - at;
  if (available < ipv4.HEADER_LENGTH) return `truncated IPv4 header: ${available} bytes`;
  const source = formatAddress(b, at + ipv4.SOURCE, 4);
  const destination = formatAddress(b, at + ipv4.DESTINATION, 4);
  const total = ipv4.totalLength(b, at);
  const tail = `ttl=${ipv4.ttl(b, at)} len=${total}`;
  const header = ipv4.checkLength(b, at, end);
  if (header === 0) {
    const stated = ipv4.headerLength(b, at);
    if (stated < ipv4.HEADER_LENGTH)
      return `${source} > ${destination} bad IPv4 header length ${stated} ${tail}`;
    if (total < stated) return `${source} > ${destination} bad IPv4 total length, header ${stated} ${tail}`;
    return `${source} > ${destination} truncated IPv4 packet: ${available} bytes ${tail}`;
  }
  const protocol = ipv4.protocol(b, at);
  const note = ipv4.verifyChecksum(b, at) ? "" : " (bad IPv4 checksum)";
  if (ipv4.isFragment(b, at)) {
    const offset = ipv4.fragmentOffset(b, at);
    return `${source} > ${destination} ${protocolName(protocol)} fragment at ${offset} ${tail}${note}`;
  }
  const start = at + header;
  const length = total - header;
  const pseudoSum = pseudoSum4(b, at + ipv4.SOURCE, at + ipv4.DESTINATION, protocol, length);
  const payload = { b, at: start, end: start + length, protocol, source, destination, pseudoSum };
  return `${describePayload(payload)} ${tail}${note}`;
}

function describeIpv6(b: Uint8Array, at: number, end: number): string {
  const available = end - at;
  if (available < ipv6.HEADER_LENGTH) return `truncated IPv6 header: ${available} bytes`;
  const source = formatAddress(b, at + ipv6.SOURCE, 16);
  const destination = formatAddress(b, at + ipv6.DESTINATION, 16);
  const total = ipv6.HEADER_LENGTH + ipv6.payloadLength(b, at);
  const tail = `hlim=${ipv6.hopLimit(b, at)} len=${total}`;
  if (ipv6.checkLength(b, at, end) === 0) {
    return `${source} > ${destination} truncated IPv6 packet: ${available} bytes ${tail}`;
  }
  const upper = ipv6.newUpper();
  if (!ipv6.walk(b, at, at + total, upper)) {
    return `${source} > ${destination} bad IPv6 extension headers ${tail}`;
  }
  const { protocol, at: start, sourceAt, destinationAt } = upper;
  if (upper.fragment) return `${source} > ${destination} ${protocolName(protocol)} fragment ${tail}`;
  const length = at + total - start;
  const pseudoSum = pseudoSum6(b, sourceAt, destinationAt, protocol, length);
  const payload = { b, at: start, end: start + length, protocol, source, destination, pseudoSum };
  return `${describePayload(payload)} ${tail}`;
}

function describePayload(payload: Payload): string {
  const { b, at, end, source, destination } = payload;
  switch (payload.protocol) {
    case PROTOCOL.TCP:
      return describeTcp(payload);
    case PROTOCOL.ICMP:
      if (icmp.checkLength(b, at, end) === 0) break;
      return `${source} > ${destination} ICMP ${describeIcmp(payload)}`;
    case PROTOCOL.ICMPV6:
      if (icmpv6.checkLength(b, at, end) === 0) break;
      return `${source} > ${destination} ICMPv6 ${describeIcmpv6(payload)}`;
    default:
      return `${source} > ${destination} ${protocolName(payload.protocol)}`;
  }
  return `${source} > ${destination} truncated ${protocolName(payload.protocol)} header: ${end - at} bytes`;
}

function describeTcp({ b, at, end, source, destination, pseudoSum }: Payload): string {
  const header = tcp.checkLength(b, at, end);
  if (header === 0) {
    const stated = end - at < tcp.HEADER_LENGTH ? tcp.HEADER_LENGTH : tcp.headerLength(b, at);
    const isBad = stated < tcp.HEADER_LENGTH;
    const fault = isBad ? `bad TCP data offset ${stated}` : `truncated TCP header: ${end - at} bytes`;
    return `${source} > ${destination} ${fault}`;
  }
  const flags = tcp.flags(b, at);
  const words = [
    `${formatEndpoint(source, tcp.sourcePort(b, at))} > ${formatEndpoint(destination, tcp.destinationPort(b, at))}`,
    `TCP ${tcp.flagNames(flags)} seq=${tcp.sequence(b, at)}`,
  ];
  if ((flags & tcp.FLAGS.ACK) !== 0) words.push(`ack=${tcp.acknowledgement(b, at)}`);
  words.push(`win=${tcp.window(b, at)}`);
  if (header > tcp.HEADER_LENGTH) words.push(`<${describeOptions(b, at + tcp.OPTIONS, at + header)}>`);
  if (at + header < end) words.push(`data=${end - at - header}`);
  if (tcp.verifyChecksum(b, at, end, pseudoSum) === tcp.CHECKSUM_VERDICT.bad)
    words.push("(bad TCP checksum)");
  return words.join(" ");
}

function describeOptions(b: Uint8Array, at: number, end: number): string {
  const { options, malformed } = parseOptions(b, at, end);
  const names = options.map(describeOption);
  return (malformed ? [...names, "malformed"] : names).join(", ");
}

function describeOption(option: TcpOption): string {
  switch (option.kind) {
    case "mss":
      return `mss ${option.value}`;
    case "window-scale":
      return `wscale ${option.shift}`;
    case "sack":
      return `sack ${option.blocks.map(({ left, right }) => `${left}-${right}`).join(" ")}`;
    case "timestamps":
      return `ts ${option.value} ${option.echo}`;
    case "unknown":
      return `kind-${option.code}[${option.data.length}]`;
    default:
      return option.kind;
  }
}

const quote = newQuote();

function describeIcmp({ b, at, end }: Payload): string {
  const type = icmp.type(b, at);
  const code = icmp.code(b, at);
  const isTooBig = type === icmp.TYPE.DESTINATION_UNREACHABLE && code === icmp.CODE.FRAGMENTATION_NEEDED;
  const mtu = isTooBig ? ` mtu=${u16(b, at + icmp.REST + 2)}` : "";
  const about = icmp.isError(type) ? describeQuote(b, icmp.parseQuote(b, at, end, quote)) : "";
  const note = icmp.verifyChecksum(b, at, end) ? "" : " (bad ICMP checksum)";
  return icmp.codeName(type, code) + mtu + about + note;
}

function describeIcmpv6({ b, at, end, pseudoSum }: Payload): string {
  const type = icmpv6.type(b, at);
  const mtu = type === icmpv6.TYPE.PACKET_TOO_BIG ? ` mtu=${icmpv6.rest(b, at)}` : "";
  const about = icmpv6.isError(type) ? describeQuote(b, icmpv6.parseQuote(b, at, end, quote)) : "";
  const note = icmpv6.verifyChecksum(b, at, end, pseudoSum) ? "" : " (bad ICMPv6 checksum)";
  return icmpv6.codeName(type, icmpv6.code(b, at)) + mtu + about + note;
}

/** What the module's `quote` says, when it `isReadable`. */
function describeQuote(b: Uint8Array, isReadable: boolean): string {
  if (!isReadable) return " for an unreadable quote";
  const { protocol, sourceAt, destinationAt, addressLength }: Quote = quote;
  const source = formatAddress(b, sourceAt, addressLength);
  const destination = formatAddress(b, destinationAt, addressLength);
  if (protocol !== PROTOCOL.TCP && protocol !== PROTOCOL.UDP) {
    return ` for ${source} > ${destination} ${protocolName(protocol)}`;
  }
  const ends = `${formatEndpoint(source, quote.sourcePort)} > ${formatEndpoint(destination, quote.destinationPort)}`;
  return protocol === PROTOCOL.TCP ? ` for ${ends} TCP seq=${quote.sequence}` : ` for ${ends} UDP`;
}

function protocolName(protocol: number): string {
  switch (protocol) {
    case PROTOCOL.ICMP:
      return "ICMP";
    case PROTOCOL.TCP:
      return "TCP";
    case PROTOCOL.UDP:
      return "UDP";
    case PROTOCOL.ICMPV6:
      return "ICMPv6";
    default:
      return `protocol-${protocol}`;
  }
}
