/**
 * A lease on a block of source ports, for runs that hold the kernel's RST back: two runs must not share a block, and the rule
 * that a killed run leaves behind must be found and removed.
 *
 * The lease is a listening socket with an abstract name (unix(7)): unique in this network namespace, as the rule is, without a
 * file, and gone with its process. So a rule is stale when its block is not leased.
 */
import { createServer, type Server } from "node:net";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import type { PortRange } from "../../link/filter.ts";
import { addRstRule, listRstRules, removeRstRule } from "../../link/rst-rule.ts";
import { readFile } from "./system.ts";

/** Ports of a lease: few enough that several runs at once have one each, above the kernel's own ports. */
const BLOCK = 512;

export interface HeldPorts {
  readonly ports: PortRange;
  /** Removes the rules and ends the lease. Needs CAP_NET_ADMIN still. */
  release(): void;
}

/**
 * Leases a block of `range` from which nothing on this machine sends, sweeps what killed runs left behind, and holds the
 * kernel's RST back for the block.
 * @throws {SynprobeError} `ERR_PRIVILEGE` without CAP_NET_ADMIN; `ERR_NO_SOURCE` when every block is leased
 */
export async function holdPorts(range: PortRange, families: readonly (4 | 6)[]): Promise<HeldPorts> {
  await sweepStaleRules();
  const used = usedPorts();
  for (let first = range.first; first + BLOCK - 1 <= range.last; first += BLOCK) {
    const ports = { first, last: first + BLOCK - 1 };
    // The rule blocks whatever this machine sends from these ports: skip a block with ports in use.
    if (used.some((port) => port >= ports.first && port <= ports.last)) continue;
    const lease = await takeLease(ports);
    if (lease === undefined) continue;
    const added: (4 | 6)[] = [];
    const release = (): void => {
      process.off("exit", release);
      try {
        for (const family of added.splice(0)) removeRstRule(family, ports);
      } finally {
        lease.close();
      }
    };
    process.on("exit", release);
    try {
      for (const family of families) {
        addRstRule(family, ports);
        added.push(family);
      }
    } catch (error) {
      release();
      throw error;
    }
    return { ports, release };
  }
  throw new SynprobeError(
    ERROR_CODES.noSource,
    "every block of source ports is leased or in use by other processes: wait for one to end",
  );
}

/** Removes the rules of runs that have ended. @returns their blocks, each once */
export function sweepStaleRules(): Promise<PortRange[]> {
  return forStaleRules(removeRstRule);
}

/** The blocks of runs that have ended, each once; changes nothing. */
export function staleBlocks(): Promise<PortRange[]> {
  return forStaleRules(() => {});
}

/** Calls `act` for each stale rule. Its block is leased meanwhile, so that no other run can take it. */
async function forStaleRules(act: (family: 4 | 6, ports: PortRange) => void): Promise<PortRange[]> {
  const blocks = new Map<number, PortRange>();
  for (const family of [4, 6] as const) {
    for (const ports of listRstRules(family)) {
      const lease = await takeLease(ports);
      if (lease === undefined) continue;
      try {
        act(family, ports);
      } finally {
        lease.close();
      }
      blocks.set(ports.first, ports);
    }
  }
  return [...blocks.values()];
}

/** Local ports of this machine's TCP sockets, listeners included, in this network namespace. */
function usedPorts(): number[] {
  return ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((path) =>
    [...(readFile(path) ?? "").matchAll(/^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) /gm)].map(([, port]) =>
      Number.parseInt(port, 16),
    ),
  );
}

/** @returns undefined when it is leased already */
function takeLease({ first, last }: PortRange): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.unref();
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(undefined);
      else
        reject(
          new SynprobeError(ERROR_CODES.system, `cannot lease source ports: ${error.code}`, { cause: error }),
        );
    });
    server.listen({ path: `\0synprobe-ports-${first}-${last}` }, () => resolve(server));
  });
}
