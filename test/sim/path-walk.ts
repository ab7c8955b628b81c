/** A walk through a simulated network, under a virtual clock. */
import type { LabDescription } from "../../src/lab/description.ts";
import { createNetwork, type LabNetwork } from "../../src/lab/network.ts";
import { conclude } from "../../src/scan/path/conclusion.ts";
import type { SurveyOptions } from "../../src/scan/path/finding.ts";
import type { PathResult } from "../../src/scan/path/result.ts";
import { createSurvey } from "../../src/scan/path/survey.ts";
import { createWalk, type Walk } from "../../src/scan/path/walk.ts";
import type { Address } from "../../src/wire/address.ts";
import * as tcp from "../../src/wire/tcp.ts";
import { PROBER_4, PROBER_6 } from "./lab.ts";
import { createSeededRandom } from "./random.ts";
import { address } from "./run.ts";

export interface Walked {
  readonly result: PathResult;
  readonly walk: Walk;
  readonly network: LabNetwork;
  /** Packets sent, each with its time. */
  readonly packets: readonly { readonly atUs: number; readonly bytes: Uint8Array }[];
}

export interface Walking extends Partial<SurveyOptions> {
  readonly rate?: number;
  readonly seed?: number;
  /** Changes what comes back, or adds to it. */
  readonly meddle?: (packet: Uint8Array, sent: readonly Uint8Array[]) => readonly Uint8Array[];
  readonly firstPort?: number;
  /** Whether the prober's own kernel refuses to send a SYN to a port, with EPERM. */
  readonly refuses?: (port: number, nowUs: number) => boolean;
  /** A port whose SYNs are routed another way, through a network of its own. */
  readonly elsewhere?: { readonly port: number; readonly description: LabDescription };
}

export function walkTo(description: LabDescription, host: string, options: Walking = {}): Walked {
  const {
    rate = 200,
    seed = 1,
    meddle = (packet) => [packet],
    firstPort = 61_000,
    refuses,
    elsewhere,
    ...more
  } = options;
  const target: Address = address(host);
  const local = target.length === 4 ? PROBER_4 : PROBER_6;
  const network = createNetwork(description, { startUs: 0 });
  const other = elsewhere && createNetwork(elsewhere.description, { startUs: 0 });
  const networks = other === undefined ? [network] : [network, other];
  const walk = createWalk({
    target,
    local,
    rate,
    sourcePorts: { first: firstPort, last: firstPort + 1023 },
    random: createSeededRandom(seed),
  });
  const survey = createSurvey(walk, { ports: [443, 445], flows: 1, maxHops: 30, tries: 3, ...more });
  const packets: { atUs: number; bytes: Uint8Array }[] = [];
  const out = new Uint8Array(65_536);
  let now = 0;
  walk.start(survey.run, now);
  while (!walk.done) {
    for (let length = walk.pollTransmit(out, 0, now); length > 0; length = walk.pollTransmit(out, 0, now)) {
      const bytes = out.slice(0, length);
      const port = tcp.destinationPort(bytes, target.length === 4 ? 20 : 40);
      if (refuses?.(port, now) === true) {
        walk.refuse("EPERM");
        continue;
      }
      packets.push({ atUs: now, bytes });
      (port === elsewhere?.port && other !== undefined ? other : network).handlePacket(bytes, 0, length, now);
    }
    if (walk.done) break;
    const next = Math.min(walk.pollTimeout(), ...networks.map((each) => each.pollTimeout()));
    if (!Number.isFinite(next)) throw new Error("the walk waits for nothing");
    now = Math.max(now, next);
    for (const each of networks) {
      for (let length = each.pollTransmit(now, out, 0); length > 0; ) {
        for (const packet of meddle(
          out.slice(0, length),
          packets.map(({ bytes }) => bytes),
        )) {
          walk.handlePacket(packet, 0, packet.length, now);
        }
        length = each.pollTransmit(now, out, 0);
      }
    }
    walk.handleTimeout(now);
  }
  return { result: conclude(walk, survey.findings, local, 0, now), walk, network, packets };
}
