/**
 * Hosts that answer SYN-ACK on every port, even on unused ones: a tarpit or a middlebox. The table reports each in one sentence at
 * the end instead of a line per port.
 */
import type { PortResult } from "../scan/probe/result.ts";
import { escapeWord } from "./escape.ts";
import { count } from "./figures.ts";

/** Most hosts with a sentence of their own; the rest share one. */
const MOST_TOLD = 32;

export interface AnswersAll {
  add(result: PortResult): void;
  has(ip: string): boolean;
  /** `198.18.0.9: answers SYN-ACK on every port (tarpit or middlebox), 65,535 ports not listed` */
  sentences(): string[];
}

export function collectAnswersAll(): AnswersAll {
  const byAddress = new Map<string, { readonly label: string; ports: number }>();
  return {
    add({ ip, host }) {
      const known = byAddress.get(ip);
      if (known !== undefined) {
        known.ports++;
        return;
      }
      const address = escapeWord(ip);
      byAddress.set(ip, {
        label: host === undefined ? address : `${escapeWord(host)} (${address})`,
        ports: 1,
      });
    },
    has: (ip) => byAddress.has(ip),
    sentences() {
      const hosts = [...byAddress.values()];
      const told = hosts.slice(0, MOST_TOLD);
      const rest = hosts.slice(MOST_TOLD);
      const lines = told.map(
        ({ label, ports }) =>
          `${label}: answers SYN-ACK on every port (tarpit or middlebox), ${count(ports, "port")} not listed`,
      );
      if (rest.length === 0) return lines;
      const ports = rest.reduce((sum, each) => sum + each.ports, 0);
      const more = count(rest.length, "more host answers", "more hosts answer");
      return [...lines, `${more} SYN-ACK on every port, ${count(ports, "port")} not listed`];
    },
  };
}
