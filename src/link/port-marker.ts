/**
 * Marks a block of source ports as this process's, so that others on the same network see it: a raw IP socket that is bound to
 * a multicast address made of the block's first port. Nothing is ever sent to it or from it.
 *
 * Only who may open raw sockets can make one, so no other user can take a block away. It belongs to the network namespace, needs
 * no file, and ends with its process. Several may have the same address: which of them counts is the caller's business
 * (runtime/system/port-lease.ts).
 */
import { fstatSync, readFileSync } from "node:fs";
import { ERROR_CODES, SynprobeError } from "../errors.ts";
import { errno, LITTLE_ENDIAN, libc, nativeMemory, systemError } from "./sys/libc.ts";
import { AF_INET, SOCK_CLOEXEC, SOCK_RAW } from "./sys/linux.ts";

/** For experiments (RFC 3692): nobody's protocol. */
const PROTOCOL = 253;

export interface PortMarker {
  /** Of the socket: each has its own. */
  readonly inode: number;
  close(): void;
}

/** 239.83.x.y, of the organisation's own scope (RFC 2365). A raw socket may be bound to any multicast address. */
const addressOf = (first: number): Uint8Array => Uint8Array.of(239, 83, first >> 8, first & 0xff);

/** @throws {SynprobeError} `ERR_PRIVILEGE` without CAP_NET_RAW */
export function openMarker(first: number): PortMarker {
  const fd = libc.socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, PROTOCOL);
  if (fd < 0) {
    if (errno() === "EPERM")
      throw new SynprobeError(ERROR_CODES.privilege, "raw sockets are not allowed to this process");
    throw systemError("socket(raw IPv4)");
  }
  const name = nativeMemory(16);
  new DataView(name.buffer).setUint16(0, AF_INET, LITTLE_ENDIAN);
  name.set(addressOf(first), 4);
  if (libc.bind(fd, name, name.length) < 0) {
    const error = systemError("bind(raw IPv4)");
    libc.close(fd);
    throw error;
  }
  let open = true;
  return {
    inode: fstatSync(fd).ino,
    close: () => {
      if (open) libc.close(fd);
      open = false;
    },
  };
}

/**
 * The inodes of a block's markers, whosever they are.
 * @throws {SynprobeError} `ERR_SYSTEM` where /proc does not say
 */
export function markersOf(first: number): number[] {
  let table: string;
  try {
    table = readFileSync("/proc/net/raw", "latin1");
  } catch (cause) {
    throw new SynprobeError(
      ERROR_CODES.system,
      "cannot read /proc/net/raw, which tells who has which ports",
      {
        cause,
      },
    );
  }
  // The address is four bytes read as a number of this processor's.
  const address = new DataView(addressOf(first).buffer).getUint32(0, LITTLE_ENDIAN);
  const wanted = `${address.toString(16).padStart(8, "0")}:${PROTOCOL.toString(16).padStart(4, "0")}`;
  // Slot, local address, remote address, state, queues, timer, retransmissions, user, timeout, inode.
  return table.split("\n").flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    return fields[1]?.toLowerCase() === wanted ? [Number(fields[9])] : [];
  });
}
