/**
 * The stack that all connections of this process share: its block of source ports, its raw sockets, its rule that holds the
 * kernel's RST back. Opened at the first connection, closed soon after the last, and when the process ends.
 *
 * Signals: while a stack is open, SIGINT, SIGTERM and SIGHUP are watched, because what Node does on them by default would
 * leave the rule behind. A program with handlers of its own is left to them, and its exit hooks do the rest; otherwise the
 * stack is closed and the signal sent again, so that the process ends as it would have. After SIGKILL the rule stays until
 * the next start (system/port-lease.ts) or `synprobe doctor --fix`.
 */
import { openRawIp } from "../../link/raw-ip.ts";
import { localAddresses } from "../../link/route.ts";
import { LONGEST_PACKET } from "../../scan/probe/syn-template.ts";
import { networkOf } from "../../scan/targets/address-range.ts";
import { atExit } from "../system/exit-actions.ts";
import { holdPorts } from "../system/port-lease.ts";
import { createRandom } from "../system/random.ts";
import { portShares } from "../system/system.ts";
import type { Connection } from "./connection.ts";
import type { Wanted } from "./handshake.ts";
import type { Binding } from "./shared-links.ts";
import { createStack, type Stack } from "./user-space-tcp.ts";

/** How long an idle stack waits for the next connection, in milliseconds. */
const LINGER_MS = 100;
const ANYWHERE = { 4: new Uint8Array(4), 6: new Uint8Array(16) } as const;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** By address family; both have the same one, unless IPv6 came up later. */
const stacks = new Map<4 | 6, Promise<Stack>>();

/** @throws {SynprobeError} as Stack.open and holdPorts; `ERR_PRIVILEGE` without CAP_NET_RAW */
export async function openConnection(binding: Binding, wanted: Wanted): Promise<Connection> {
  const stack = await stackFor(binding.family);
  return stack.open(binding, wanted);
}

function stackFor(family: 4 | 6): Promise<Stack> {
  const known = stacks.get(family);
  if (known !== undefined) return known;
  const families = ([4, 6] as const).filter(
    (each) => each === family || (!stacks.has(each) && localAddresses(each).length > 0),
  );
  const forget = (): void => {
    for (const each of families) stacks.delete(each);
  };
  const opening = openStack(families, forget);
  for (const each of families) stacks.set(each, opening);
  opening.catch(forget);
  return opening;
}

/** @param forget is called when the stack takes no connection any more */
async function openStack(families: readonly (4 | 6)[], forget: () => void): Promise<Stack> {
  const held = await holdPorts(portShares().raw, families);
  let closed = false;
  let lingering: NodeJS.Timeout | undefined;
  const stack = createStack({
    ports: held.ports,
    random: createRandom(),
    openLink: ({ family, through, ...binding }) =>
      openRawIp({
        ...binding,
        ...(through === undefined
          ? {}
          : { pinned: [{ ...networkOf(ANYWHERE[family], 0), interfaceIndex: through }] }),
        families: [family],
        ports: held.ports,
        slotLength: LONGEST_PACKET,
      }),
    onIdle: () => {
      clearTimeout(lingering);
      lingering = setTimeout(() => {
        if (stack.live === 0) close();
      }, LINGER_MS);
    },
  });

  function close(): void {
    if (closed) return;
    closed = true;
    forget();
    clearTimeout(lingering);
    leaveExit();
    for (const signal of SIGNALS) process.off(signal, onSignal);
    try {
      stack.close();
      held.release();
    } catch (error) {
      // Nobody waits for this any more; but a program that has given up CAP_NET_ADMIN too early should hear of it.
      process.emitWarning(error instanceof Error ? error : String(error));
    }
  }

  function onSignal(signal: NodeJS.Signals): void {
    // Out of the way before other listeners look who else is there: some act only when they are alone.
    process.off(signal, onSignal);
    if (process.listenerCount(signal) === 0) {
      close();
      process.kill(process.pid, signal);
    } else {
      setImmediate(() => {
        if (!closed) process.prependListener(signal, onSignal);
      });
    }
  }

  const leaveExit = atExit(close);
  for (const signal of SIGNALS) process.prependListener(signal, onSignal);
  return stack;
}
