/**
 * Both probers, run as whole processes inside a lab, and their results in one shape: what a port is, why, who said so
 * and with which TTL.
 */
import { linesOf, run, synprobe } from "../cli/process.ts";
import { inNamespace } from "./netns.ts";

/** One NDJSON record of synprobe about one port. */
export interface Found {
  readonly ip: string;
  readonly port: number;
  readonly state: string;
  readonly reason: string;
  readonly rtt_ms: number | null;
  readonly ttl: number | null;
  readonly tries: number;
  readonly responder?: string;
  readonly host?: string;
  readonly late?: true;
  /** When the verdict fell: ISO 8601. */
  readonly ts: string;
}

/** Target text: IPv6 in brackets. */
export function at(ip: string, port: number | string): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** Probes with synprobe. @returns its results by target text. @throws unless the run is complete without a fault */
export async function probe(namespace: string, ...args: string[]): Promise<Map<string, Found>> {
  const { status, stdout, stderr } = await run(inNamespace(namespace, synprobe("-oJ", "-", ...args)));
  if (status !== 0 || stderr !== "") throw new Error(`synprobe ended with ${status}: ${stderr}`);
  return resultsOf(stdout);
}

/** The results in NDJSON text, by target text; other records are left out. */
export function resultsOf(ndjson: string): Map<string, Found> {
  const found = new Map<string, Found>();
  for (const line of linesOf(ndjson)) {
    const record = JSON.parse(line) as Found & { readonly type?: string };
    if (record.type === "result") found.set(at(record.ip, record.port), record);
  }
  return found;
}

/** What both probers can say about a port. */
export interface Evidence {
  readonly state: string;
  readonly reason: string;
  /** Sender of the ICMP error, when it is not the target. */
  readonly responder?: string;
  readonly ttl: number | null;
}

export function evidenceOf({ state, reason, responder, ttl }: Found): Evidence {
  return { state, reason, ttl, ...(responder === undefined ? {} : { responder }) };
}

/** Probes with nmap; its options first. @returns its results by target text, a host that it calls down left out */
export async function nmap(namespace: string, ...args: string[]): Promise<Map<string, Evidence>> {
  const argv = ["nmap", "-sS", "-n", "-Pn", "--reason", "-oX", "-", ...args];
  const { status, stdout, stderr } = await run(inNamespace(namespace, argv));
  if (status !== 0) throw new Error(`nmap ended with ${status}: ${stderr}`);
  const found = new Map<string, Evidence>();
  for (const [host] of stdout.matchAll(/<host[ >].*?<\/host>/gs)) {
    const ip = /<address addr="([^"]*)" addrtype="ipv[46]"/.exec(host)?.[1] ?? "";
    for (const [, port = "", attributes = ""] of host.matchAll(
      /<port [^>]*portid="(\d+)"><state ([^>]*)\/>/g,
    )) {
      const said = new Map(
        [...attributes.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value]),
      );
      const responder = said.get("reason_ip");
      const reason = said.get("reason") ?? "";
      found.set(at(ip, port), {
        state: said.get("state") ?? "",
        reason,
        ttl: reason === "no-response" ? null : Number(said.get("reason_ttl")),
        ...(responder === undefined || responder === ip ? {} : { responder }),
      });
    }
  }
  return found;
}
