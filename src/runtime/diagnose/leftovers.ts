/**
 * What killed runs have left behind: routing rules that hold the kernel's RST back for ports that are no longer leased. They do
 * no harm until a program of this machine connects from such a port. Doctor finds them, and removes them with --fix.
 */
import { SynprobeError } from "../../errors.ts";
import type { PortRange } from "../../link/filter.ts";
import { shellCommand } from "../system/privilege.ts";
import { asRoot, type Finding, ok, warn } from "./finding.ts";
import type { System } from "./system.ts";

const TOPIC = "leftovers";

/** One finding when there is something, none when there is nothing. */
export function leftoverFindings(
  system: System,
  fix: boolean,
  synprobe: readonly string[] = ["synprobe"],
): Finding[] {
  const blocks = system.staleBlocks();
  if (blocks.length === 0) return [];
  const found = `routing rules of runs that were killed, for source ports ${blocks.map(describe).join(", ")}`;
  const command = `    ${asRoot(system)}${shellCommand([...synprobe, "doctor", "--fix"])}`;
  if (!fix) return [warn(TOPIC, found, "Remove them (the next run with --complete does it too):", command)];
  try {
    system.sweepStaleBlocks();
    const left = system.staleBlocks();
    if (left.length === 0) return [ok(TOPIC, `removed: ${found}`)];
    const remaining = `not all could be removed: ${left.map(describe).join(", ")} are still there`;
    return [warn(TOPIC, remaining, "Look at them:", "    ip rule; ip -6 rule")];
  } catch (error) {
    if (!(error instanceof SynprobeError)) throw error;
    return [warn(TOPIC, `${found}: ${error.message}`, "Removing them needs CAP_NET_ADMIN:", command)];
  }
}

const describe = ({ first, last }: PortRange): string => `${first}-${last}`;
