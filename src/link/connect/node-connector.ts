/**
 * A Connector over node:net alone, for systems whose calls synprobe does not know: nothing native is loaded. It knows less than
 * kernel-connector.ts: of ICMP errors only what errno says, of a FIN only that it was sent, and each connect is a new socket.
 *
 * Node tells of a want of descriptors, ports or memory only later, as the connect's error. Such a connect begins again when others
 * have ended.
 */
import { connect, type Socket } from "node:net";
import { formatAddress, isLinkLocal } from "../../wire/address.ts";
import { type Connector, type Outcomes, READ, tellError } from "./connector.ts";

export interface NodeConnectorOptions {
  readonly slots: number;
  /** Source address as text. */
  readonly source?: string;
  /** Name of the interface on which link-local addresses are meant. */
  readonly zone?: string;
}

/** Of this machine's state, so that the connect did not happen. */
const AGAIN: ReadonlySet<string> = new Set([
  "EMFILE",
  "ENFILE",
  "EADDRNOTAVAIL",
  "EAGAIN",
  "ENOBUFS",
  "ENOMEM",
]);

interface Connect {
  readonly slot: number;
  readonly family: 4 | 6;
  readonly host: string;
  readonly port: number;
  /** Whether it is the pair's second, since the first may have met another connect. */
  readonly isAgain: boolean;
  socket: Socket;
  isConnected: boolean;
  hasEnded: boolean;
  error: string;
}

export function createNodeConnector({ slots, source, zone }: NodeConnectorOptions): Connector {
  const connects: (Connect | undefined)[] = Array.from({ length: slots });
  /** Those of which something is to be told, in the order of what happened. */
  let told: { readonly at: Connect; readonly what: "connected" | "failed" | "changed" }[] = [];
  let wake = (): void => {};

  function tell(at: Connect, what: (typeof told)[number]["what"]): void {
    if (connects[at.slot] !== at) return;
    told.push({ at, what });
    wake();
  }

  function open(of: Omit<Connect, "socket">): Connect {
    const socket = connect({
      host: of.host,
      port: of.port,
      family: of.family,
      autoSelectFamily: false,
      allowHalfOpen: true,
      ...(source === undefined ? {} : { localAddress: source }),
    });
    const at: Connect = { ...of, socket };
    socket.once("connect", () => {
      at.isConnected = true;
      tell(at, "connected");
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      at.error = error.code ?? "EIO";
      tell(at, at.isConnected ? "changed" : "failed");
    });
    socket.on("readable", () => tell(at, "changed"));
    socket.on("end", () => {
      at.hasEnded = true;
      tell(at, "changed");
    });
    socket.on("finish", () => tell(at, "changed"));
    return at;
  }

  function settle(at: Connect, what: (typeof told)[number]["what"], outcomes: Outcomes): void {
    const { slot, family, error } = at;
    if (what === "changed") outcomes.changed(slot);
    else if (what === "connected") {
      const { localPort, localAddress, remoteAddress } = at.socket;
      // It may have met itself, or another connect: see kernel-connector.ts. Which ports are the kernel's own is not known here.
      const isDoubtful = localAddress === remoteAddress;
      if (isDoubtful && localPort === at.port) outcomes.refused(slot);
      else if (isDoubtful && !at.isAgain) {
        end(slot);
        connects[slot] = open({ ...at, isConnected: false, hasEnded: false, error: "", isAgain: true });
      } else outcomes.connected(slot);
    } else if (AGAIN.has(error)) connects[slot] = open({ ...at, error: "" });
    else tellError(outcomes, slot, family, error);
  }

  function end(slot: number): void {
    const at = connects[slot];
    connects[slot] = undefined;
    if (at === undefined) return;
    if (at.isConnected) at.socket.resetAndDestroy();
    else at.socket.destroy();
  }

  return {
    begin: (slot, family, bytes, from, port) => {
      const address = bytes.slice(from, from + (family === 4 ? 4 : 16));
      const scoped = zone !== undefined && isLinkLocal(address);
      const host = `${formatAddress(address)}${scoped ? `%${zone}` : ""}`;
      const begun = { isAgain: false, isConnected: false, hasEnded: false, error: "" };
      connects[slot] = open({ slot, family, host, port, ...begun });
      return "";
    },
    has: () => false,
    end,
    poll: (outcomes) => {
      const now = told;
      told = [];
      for (const { at, what } of now) if (connects[at.slot] === at) settle(at, what, outcomes);
      return true;
    },
    onReadable: (handler) => {
      wake = handler;
    },
    read: (slot, into) => {
      const at = connects[slot];
      if (at === undefined || at.error !== "") return READ.reset;
      const chunk: Buffer | null = at.socket.read(Math.min(into.length, at.socket.readableLength) || 1);
      if (chunk === null) return at.hasEnded ? 0 : READ.nothing;
      into.set(chunk);
      return chunk.length;
    },
    finish: (slot) => {
      connects[slot]?.socket.end();
    },
    isFinished: (slot) => connects[slot]?.socket.writableFinished === true,
    close: () => {
      for (let slot = 0; slot < slots; slot++) end(slot);
    },
  };
}
