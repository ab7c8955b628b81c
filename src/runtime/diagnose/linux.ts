/**
 * The real system, for doctor: files below /proc, sockets opened and closed at once, rtnetlink, the resolver. Sends no packet
 * but the resolver's. Linux only: importing it loads the native packages.
 */
import { existsSync } from "node:fs";
import { release } from "node:os";
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { findPassedBy, packetSocketRefusal } from "../../link/passed-by.ts";
import { localAddresses, lookUpInterface, lookUpRoute } from "../../link/route.ts";
import { openRawSocket, PROTOCOLS } from "../../link/sys/raw-socket.ts";
import { raiseReceiveBuffer } from "../../link/sys/socket.ts";
import { staleBlocks, sweepStaleRules } from "../system/port-lease.ts";
import { resolveNames } from "../system/resolve.ts";
import { probePorts, readFile } from "../system/system.ts";
import type { RawTrial, System } from "./system.ts";

export function linuxSystem(): System {
  return {
    release: release(),
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
    environment: process.env,
    readFile,
    exists: existsSync,
    openRaw,
    packetSocketRefusal,
    passedBy: (interfaceIndex, destination) =>
      findPassedBy(interfaceIndex, [{ first: destination, last: destination }]),
    sourcePorts: probePorts,
    addresses: localAddresses,
    interface: lookUpInterface,
    route: lookUpRoute,
    resolve: async (name) => (await resolveNames([name])).get(name) ?? [],
    staleBlocks,
    sweepStaleBlocks: sweepStaleRules,
  };
}

function openRaw(family: 4 | 6): RawTrial {
  try {
    const socket = openRawSocket(family, PROTOCOLS.tcp);
    try {
      return { ok: true, receiveBuffer: raiseReceiveBuffer(socket.fd) };
    } finally {
      socket.close();
    }
  } catch (error) {
    const { cause } = error instanceof Error ? error : {};
    const message = error instanceof Error ? error.message : String(error);
    return {
      ok: false,
      code: error instanceof SynprobeError ? error.code : ERROR_CODES.system,
      message,
      text: cause instanceof Error ? cause.message : message,
    };
  }
}
