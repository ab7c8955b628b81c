/**
 * Reads nmap's XML (`-oX`), written by nmap or by synprobe, as a stream. Ports that nmap sums up in `extraports` are expanded if it
 * names them (since 7.80) or if they follow from the ports scanned; otherwise the host is marked as vague.
 *
 * Only XML's five own entities are known, and nothing outside the file is read.
 */
import { isIP } from "node:net";
import { SaxesParser, type SaxesTagPlain } from "saxes";
import { canonicalAddress } from "../addresses.ts";
import { defined } from "./ndjson.ts";
import {
  PROTOCOLS,
  type Protocol,
  portsOf,
  RECORDED_STATES,
  type ReadFault,
  type RecordedPort,
  type RecordedSink,
  type RecordedState,
  type RecordedSummary,
  type RunEnding,
  type TextReader,
  wholeNumber,
} from "./recorded.ts";

/**
 * Most ports taken from `extraports`: all those of 64 hosts, or 1000 of each of 4000. A few bytes stand for 65,535. Hosts beyond are
 * marked as vague: some of their ports have only been counted, as with nmap before 7.80.
 */
const MOST_GATHERED = 1 << 22;

/** nmap's own is 9 deep. */
const MOST_DEPTH = 100;

/** The attributes read, of any element. */
type Name =
  | "args"
  | "start"
  | "protocol"
  | "services"
  | "status"
  | "specification"
  | "state"
  | "addrtype"
  | "addr"
  | "type"
  | "name"
  | "reason"
  | "proto"
  | "ports"
  | "portid"
  | "reason_ttl"
  | "reason_ip"
  | "id"
  | "output"
  | "exit"
  | "elapsed"
  | "errormsg"
  | "total";
type Attributes = { readonly [N in Name]?: string };

/** One `extraports` element. */
interface Extra {
  readonly state: RecordedState;
  readonly reasons: {
    readonly reason: string;
    readonly proto: Protocol;
    readonly ports: string | undefined;
  }[];
}

interface Host {
  ip: string;
  /** Whatever name comes first, such as that of its address; and those that a user gave, which come before it. */
  name: string | undefined;
  readonly given: string[];
  up: boolean;
  readonly listed: Set<number>;
  readonly ports: RecordedPort[];
  readonly extras: Extra[];
}

/** @param fault makes the error to throw */
export function createNmapXmlReader(sink: RecordedSink, fault: ReadFault): TextReader {
  const parser = new SaxesParser({ xmlns: false, position: true });
  const scanned = new Map<Protocol, Uint16Array>();
  let gathered = 0;
  let lastList = "";
  let lastPorts = portsOf("");
  let host: Host | undefined;
  let port: { -readonly [K in keyof RecordedPort]?: RecordedPort[K] } | undefined;
  let command: string | undefined;
  let startedMs: number | undefined;
  let summary: RecordedSummary | undefined;
  let hosts: number | undefined;
  let depth = 0;
  /** Where the root element ends. */
  let endedAt = Number.POSITIVE_INFINITY;

  const wrong = (what: string): Error => fault(what, parser.line);

  function oneOf<T extends string>(words: readonly T[], what: string, value: string | undefined): T {
    const found = words.find((word) => word === value);
    if (found !== undefined) return found;
    throw wrong(`${what} is ${JSON.stringify(value ?? "missing")}, not ${words.join(", ")}`);
  }

  function emptyHost(): Host {
    return { ip: "", name: undefined, given: [], up: true, listed: new Set(), ports: [], extras: [] };
  }

  const open: Readonly<Record<string, (attributes: Attributes) => void>> = {
    nmaprun(attributes) {
      command = attributes.args;
      const seconds = wholeNumber(attributes.start);
      if (seconds !== undefined) startedMs = seconds * 1000;
    },
    scaninfo(attributes) {
      const proto = oneOf(PROTOCOLS, "scaninfo's protocol", attributes.protocol);
      const services = attributes.services;
      if (services === undefined) return;
      scanned.set(proto, portsOf(services));
      sink.scanned(proto, services);
    },
    target(attributes) {
      if (attributes.status === "skipped")
        sink.fault({ target: attributes.specification ?? "", message: "skipped" });
    },
    host() {
      host = emptyHost();
    },
    status(attributes) {
      if (host !== undefined) host.up = attributes.state !== "down";
    },
    address(attributes) {
      if (host !== undefined && attributes.addrtype !== "mac") host.ip = attributes.addr ?? "";
    },
    hostname({ name, type }) {
      if (host === undefined || name === undefined) return;
      if (type === "user") host.given.push(name);
      else host.name ??= name;
    },
    extraports(attributes) {
      const state = oneOf(RECORDED_STATES, "extraports' state", attributes.state);
      host?.extras.push({ state, reasons: [] });
    },
    extrareasons(attributes) {
      const proto = PROTOCOLS.find((each) => each === attributes.proto) ?? "tcp";
      const { reason = "", ports } = attributes;
      host?.extras.at(-1)?.reasons.push({ reason, proto, ports });
    },
    port(attributes) {
      const number = wholeNumber(attributes.portid);
      if (number === undefined || number > 65_535)
        throw wrong(`portid is ${JSON.stringify(attributes.portid ?? "missing")}, not a port`);
      port = { proto: oneOf(PROTOCOLS, "a port's protocol", attributes.protocol), port: number };
    },
    state(attributes) {
      if (port === undefined) return;
      port.state = oneOf(RECORDED_STATES, "a port's state", attributes.state);
      port.reason = attributes.reason ?? "";
      const ttl = wholeNumber(attributes.reason_ttl);
      if (ttl !== undefined && ttl > 0 && ttl <= 255) port.ttl = ttl;
      if (attributes.reason_ip !== undefined) port.responder = attributes.reason_ip;
    },
    service(attributes) {
      if (port !== undefined && attributes.name !== undefined && attributes.name !== "unknown")
        port.service = attributes.name;
    },
    script(attributes) {
      if (port !== undefined && attributes.id === "banner" && attributes.output !== undefined)
        port.banner = attributes.output;
    },
    finished(attributes) {
      const interrupted = attributes.exit === "error";
      const ms = 1000 * Number(attributes.elapsed ?? Number.NaN);
      summary = defined<RecordedSummary>({
        interrupted,
        unfinished: wholeNumber(/(\d+) ports? unfinished/.exec(attributes.errormsg ?? "")?.[1]) ?? 0,
        startedMs,
        elapsedMs: ms >= 0 ? ms : undefined,
      });
    },
    hosts(attributes) {
      hosts = wholeNumber(attributes.total);
    },
  };

  const close: Readonly<Record<string, () => void>> = {
    port() {
      const { proto, port: number, state, reason } = port ?? {};
      if (host === undefined || proto === undefined || number === undefined) return;
      if (state === undefined) throw wrong("a port without a state");
      const complete = { ...port, ip: host.ip, proto, port: number, state, reason: reason ?? "" };
      host.listed.add(PROTOCOLS.indexOf(proto) * 65_536 + number);
      host.ports.push(complete);
      port = undefined;
    },
    host() {
      if (host === undefined) return;
      if (host.ip === "") throw wrong("a host without an address");
      if (isIP(host.ip) === 0) throw wrong(`a host's address is ${JSON.stringify(host.ip)}`);
      finishHost({ ...host, ip: canonicalAddress(host.ip) });
      host = undefined;
    },
  };

  function finishHost({ ip, name: other, given, up, ports, extras, listed }: Host): void {
    const [name = other, ...aliases] = given;
    const names = {
      ...(name === undefined ? {} : { host: name }),
      ...(aliases.length === 0 ? {} : { aliases }),
    };
    for (const each of ports) sink.port({ ...each, ...names, ip });
    let vague = false;
    /** False when the file has gathered too many. */
    function add(proto: Protocol, list: Uint16Array, state: RecordedState, reason: string): boolean {
      gathered += list.length;
      if (gathered > MOST_GATHERED) return false;
      for (const port of list)
        if (!listed.has(PROTOCOLS.indexOf(proto) * 65_536 + port))
          sink.port({ ip, port, proto, state, reason, ...names });
      return true;
    }
    for (const { state, reasons } of extras) {
      const named = reasons.length > 0 && reasons.every((each) => each.ports !== undefined);
      let told = true;
      if (named) {
        for (const { reason, proto, ports: list = "" } of reasons)
          told = add(proto, portsOfHost(list), state, reason) && told;
      } else if (extras.length === 1 && scanned.size === 1) {
        // All ports that were scanned and are not listed are in this one group.
        const reason = reasons.length === 1 ? reasons[0].reason : "";
        for (const [proto, list] of scanned) told = add(proto, list, state, reason) && told;
      } else told = false;
      vague ||= !told;
    }
    sink.host(ip, up, vague);
  }

  /** Most hosts of a file have the same list. */
  function portsOfHost(list: string): Uint16Array {
    if (list !== lastList) lastPorts = portsOf(list);
    lastList = list;
    return lastPorts;
  }

  let ending = false;
  parser.on("error", (error) => {
    if (ending) throw error;
    // nmap's --append-output, or cat.
    if (endedAt < parser.position)
      throw wrong("comes after </nmaprun>: these are two files in one, give them apart");
    throw wrong(`no well-formed XML: ${error.message.replace(/^(\d+:)?\d+:\d+: /, "")}`);
  });
  parser.on("opentag", ({ name, attributes }: SaxesTagPlain) => {
    if (depth === 0 && name !== "nmaprun") throw wrong(`XML, but not nmap's: it starts with <${name}>`);
    if (++depth > MOST_DEPTH) throw wrong("nested more deeply than nmap's XML");
    if (Object.hasOwn(open, name)) open[name](attributes);
  });
  parser.on("closetag", ({ name }) => {
    depth--;
    if (depth === 0) endedAt = parser.position;
    if (Object.hasOwn(close, name)) close[name]();
  });

  return {
    text(text) {
      parser.write(text);
    },
    end() {
      let brokenLine: number | undefined;
      ending = true;
      try {
        parser.close();
      } catch {
        // Cut off: complete hosts have been read.
        brokenLine = parser.line;
      }
      const total = summary === undefined ? undefined : defined<RecordedSummary>({ ...summary, hosts });
      const isWhole = endedAt < Number.POSITIVE_INFINITY;
      return defined<RunEnding>({
        format: "nmap-xml",
        ending: total === undefined || !isWhole ? "cut-off" : total.interrupted ? "interrupted" : "complete",
        command,
        startedMs,
        summary: total,
        brokenLine: isWhole ? undefined : brokenLine,
      });
    },
  };
}
