/**
 * The options of a scan: what a user of the command line or of the library asked for, with every default filled in. Bounds
 * are checked where they are read (cli/options/, runtime/api/).
 */

import type { PortRange } from "../../link/filter.ts";
import type { PacketObserver } from "../../link/tracer.ts";
import type { Verify } from "../../scan/measure/recapture.ts";
import type { OrderOptions, Part } from "../../scan/targets/permutation.ts";
import type { Services } from "../../scan/targets/services.ts";
import { partControlPorts } from "../../socket/ports.ts";
import { nowUs, wallMs } from "../system/clock.ts";
import type { CaptureKind } from "./capture.ts";

export interface ScanOptions {
  /** SYNs after the first for a port that stays silent, 0 to 30. */
  readonly retries: number;
  /** Retry silent ports until this certain that they are silent (EngineOptions). */
  readonly confidence?: number;
  /** Which silent ports are asked once more at the end (scan/engine/verification.ts); "auto" by default. */
  readonly verify?: Verify;
  /** How long each try waits, in milliseconds: before round trips are known, the shortest and the longest. */
  readonly waitMs: { readonly initial: number; readonly least: number; readonly most: number };
  /** Bounds of the rate, and what an earlier run has found it to be, in probes per second of all workers together. */
  readonly rate: { readonly minimum: number; readonly maximum: number; readonly found?: number };
  /** It goes on where another of the same rate has just ended: its first SYN waits as one after that one's last. */
  readonly follows?: boolean;
  /** Probes per second to one host. */
  readonly ratePerHost?: number;
  /** Probes per second to one prefix (EngineOptions). */
  readonly ratePerPrefix?: number;
  /** How long one host is probed, in milliseconds. */
  readonly hostTimeoutMs?: number;
  /** Send every probe from this port. */
  readonly sourcePort?: number;
  /** What SYNs offer: all that a current Linux kernel's do (default), or MSS alone. */
  readonly syn?: "linux" | "minimal";
  readonly services: Services;
  /** Send control SYNs (scan/hosts/control-probes.ts); true by default. */
  readonly controls?: boolean;
  /** Complete the handshakes of open ports; wait this long for what the server says first, 0 not to. */
  readonly complete?: { readonly bannerMs: number };
  readonly onPacket?: PacketObserver;
  /** Hand packets to `ScanHooks.onCapture`. */
  readonly capture?: CaptureKind;
  /** `syn`: packet for large scans through one Ethernet interface, raw for all others. `auto`: the same, or without CAP_NET_RAW connect. */
  readonly link?: "auto" | "syn" | "raw" | "packet" | "connect";
  /** Worker threads; by default chosen by the number of pairs, the rate and the processors. */
  readonly workers?: number;
  readonly order: Omit<OrderOptions, "worker">;
  /** Nothing is sent after this deadline (system/fence.ts). */
  readonly fence?: SharedArrayBuffer;
  readonly beside?: Beside;
}

/** Of a run that begins before others of this process, over the same path, have ended. */
export interface Beside {
  /** The part of the source ports that it uses: the others have the rest. */
  readonly ports: Part;
  /** What it sends, and what those do that began before it, is counted here (scan/congestion/shared-pace.ts). */
  readonly sent: SharedArrayBuffer;
  readonly sentBefore: readonly SharedArrayBuffer[];
}

/** Whether SYNs offer what Linux's do. Not where synprobe goes on from their answers: its own TCP uses MSS alone. */
export const offersAll = ({ syn, complete }: ScanOptions): boolean =>
  syn !== "minimal" && complete === undefined;

/** The time stamp of a run's SYNs (createSynTemplate); undefined when they offer none. */
export const timestampOf = (options: ScanOptions): number | undefined =>
  offersAll(options) ? Math.floor(wallMs(nowUs())) >>> 0 : undefined;

/**
 * Why a run sends no control SYNs; undefined when it may.
 * @param ports the source ports; undefined of a fleet, whose workers have their own
 */
export function whyNoControls(options: ScanOptions, ports: PortRange | undefined): string | undefined {
  if (options.controls === false) return "--no-controls";
  if (
    options.ratePerHost !== undefined ||
    options.ratePerPrefix !== undefined ||
    options.hostTimeoutMs !== undefined
  )
    return "each SYN to a host with a rate or a time limit of its own is a pair's";
  return ports !== undefined && partControlPorts(ports).controlPorts === undefined
    ? "the source ports are too few"
    : undefined;
}
