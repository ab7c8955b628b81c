/**
 * A walk's result as plain values, for programs: addresses as text, times in milliseconds. The library gives it as it is, and
 * `synprobe path --json` with its names in snake case.
 */
import type { PathResult, Where } from "../../scan/path/result.ts";
import { noteSentence, portSentence } from "../../scan/path/sentences.ts";
import type { PortState, Reason } from "../../scan/probe/result.ts";
import { formatAddress } from "../../wire/address.ts";

/** A router, or the host, that answered a SYN which expired there. */
export interface PathRouter {
  readonly ip: string;
  /** By reverse lookup, where that was asked for and gave one. */
  readonly name?: string;
  /** The shortest round trip measured. */
  readonly rttMs: number;
  /** MPLS labels, outermost first (RFC 4950). */
  readonly labels?: readonly number[];
  /** Ports whose SYNs it answered. */
  readonly ports: readonly number[];
}

/**
 * What stops a port's SYNs. Hops are counted from 1, the first router; 0 is this machine.
 *
 * - `host`: nothing; the host answers, `to` hops away, as far as can be seen
 * - `dropped`: dropped between hops `from` and `to`, where port `other` goes on
 * - `at-host`: dropped by the host, or by hop `from` before it, or the answer is dropped on its way back; under
 *   `rstLimit` the port may as well be closed, by a host that limits its RSTs
 * - `rejected`: an ICMP error of `by` says so, the host itself under `self`; at hop 0, this machine refuses to send them
 * - `box`: answered in the host's name by a box between `from` and `to`; port `other` goes on to hop `beyond`
 * - `some-flows`: only `passed` of `asked` flows get further than hop `from`
 * - `unknown`: hop `from` is the last that can be seen, on any port; under `usedUp` no SYN was sent that could go further. Of a port
 *   that is not filtered: it was answered, but not again, so that its hop is not known
 */
export interface PathWhere {
  readonly kind: Where["kind"];
  readonly from?: number;
  readonly to?: number;
  readonly other?: number;
  readonly by?: string;
  readonly self?: boolean;
  readonly beyond?: number;
  readonly usedUp?: boolean;
  readonly rstLimit?: boolean;
  readonly passed?: number;
  readonly asked?: number;
}

export interface PathPort {
  readonly port: number;
  readonly state: PortState;
  readonly reason: Reason;
  /** Taken to compare with, and not asked for. */
  readonly reference: boolean;
  /** The last hop that has told of its SYNs; 0 for none. */
  readonly seenAt: number;
  readonly where: PathWhere;
  /** Chance that `where` is wrong, 0 to 1; absent where nothing is claimed. */
  readonly doubt?: number;
  /** Of so many SYNs, how many this machine refused to send, and the kernel's reason; absent for none. */
  readonly refused?: { readonly syns: number; readonly of: number; readonly reason: Reason };
  readonly rttMs?: number;
  /** TTL or hop limit of its answer. */
  readonly ttl?: number;
  /** The same in a sentence. */
  readonly text: string;
}

/** One source port's way to one port. */
export interface PathFlow {
  readonly port: number;
  readonly sourcePort: number;
  /** The address that answered at each hop, or null. */
  readonly hops: readonly (string | null)[];
  /** SYNs to the host that were counted, and how many of them were answered; with more than one flow a port. */
  readonly sent: number;
  readonly answered: number;
}

/** What `path` finds. */
export interface PathReport {
  readonly ip: string;
  readonly local: string;
  readonly hops: readonly { readonly hop: number; readonly routers: readonly PathRouter[] }[];
  readonly ports: readonly PathPort[];
  /** Loops, address translation and the like, in sentences. */
  readonly notes: readonly string[];
  readonly flows: readonly PathFlow[];
  /** SYNs sent. */
  readonly sent: number;
  readonly elapsedMs: number;
  /** Whether it was ended before all was known. */
  readonly interrupted: boolean;
}

const milliseconds = (us: number): number => Math.round(us) / 1000;

/** @param names of routers, by address */
export function pathReport(result: PathResult, names: ReadonlyMap<string, string>): PathReport {
  return {
    ip: formatAddress(result.target),
    local: formatAddress(result.local),
    hops: result.hops.map(({ hop, answers }) => ({
      hop,
      routers: answers.map(({ address, rttUs, labels, ports }) => {
        const ip = formatAddress(address);
        const name = names.get(ip);
        return {
          ip,
          ...(name === undefined ? {} : { name }),
          rttMs: milliseconds(rttUs),
          ...(labels.length === 0 ? {} : { labels: labels.map(({ label }) => label) }),
          ports,
        };
      }),
    })),
    ports: result.ports.map((path) => {
      const { port, state, reason, reference, seenAt, doubt, refused, rttUs, ttl } = path;
      return {
        port,
        state,
        reason,
        reference,
        seenAt,
        where: whereOf(path.where),
        ...(doubt === undefined ? {} : { doubt }),
        ...(refused === undefined ? {} : { refused }),
        ...(rttUs === undefined ? {} : { rttMs: milliseconds(rttUs) }),
        ...(ttl === undefined ? {} : { ttl }),
        text: portSentence(result, path),
      };
    }),
    notes: result.notes.map(noteSentence),
    flows: result.flows.map(({ port, sourcePort, hops, sent, answered }) => ({
      port,
      sourcePort,
      hops: hops.map((hop) => (hop === "" ? null : hop)),
      sent,
      answered,
    })),
    sent: result.sent,
    elapsedMs: milliseconds(result.elapsedUs),
    interrupted: result.interrupted,
  };
}

function whereOf(where: Where): PathWhere {
  if (where.kind === "host") return { kind: "host", to: where.hop };
  return where.kind === "rejected" ? { ...where, by: formatAddress(where.by) } : where;
}
