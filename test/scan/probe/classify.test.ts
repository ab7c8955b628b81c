/** What a reply or a refused send means: each control bit, each ICMP code and each error number against nmap's and the RFCs' words. */
import { describe, expect, it } from "vitest";
import {
  icmpReason,
  icmpv6Reason,
  portState,
  SEND_ERRORS,
  segmentKind,
  sendErrorVerdict,
} from "../../../src/scan/probe/classify.ts";
import { PROBE_STATES } from "../../../src/socket/state.ts";
import { FLAGS } from "../../../src/wire/tcp.ts";

const { FIN, SYN, RST, PSH, ACK, URG, ECE, CWR } = FLAGS;

describe("a segment", () => {
  it.each([
    ["SYN,ACK", SYN | ACK, "syn-ack"],
    ["SYN", SYN, "syn"],
    ["RST", RST, "reset"],
    ["RST,ACK", RST | ACK, "reset"],
    ["none", 0, "odd"],
    ["ACK", ACK, "ack"],
    ["FIN", FIN, "odd"],
    ["FIN,ACK", FIN | ACK, "ack"],
    ["SYN,FIN", SYN | FIN, "odd"],
    ["SYN,ACK,FIN", SYN | ACK | FIN, "syn-ack"],
    ["SYN,RST", SYN | RST, "odd"],
    ["SYN,RST,ACK", SYN | RST | ACK, "odd"],
    ["RST,FIN", RST | FIN, "reset"],
    ["RST,FIN,ACK", RST | FIN | ACK, "reset"],
  ])("with %s, whatever PSH, URG and ECN say", (_names, flags, kind) => {
    for (const more of [0, PSH, URG, ECE, CWR, PSH | URG | ECE | CWR]) {
      expect(segmentKind(flags | more)).toBe(kind);
    }
  });
});

describe("an ICMP error", () => {
  it("decides by type and code, and only by those that say that something refuses", () => {
    const decided: Record<string, string> = {};
    for (let type = 0; type < 256; type++) {
      for (let code = 0; code < 256; code++) {
        const reason = icmpReason(type, code);
        // Time exceeded, whatever its code.
        if (type === 11) expect(reason).toBe("time-exceeded");
        else if (reason !== undefined) decided[`${type}/${code}`] = reason;
      }
    }
    // Not 4 (fragmentation needed), 5 (source route), 6 to 8, 11 and 12 (type of service): none of them is about a SYN's port.
    expect(decided).toEqual({
      "3/0": "net-unreach",
      "3/1": "host-unreach",
      "3/2": "proto-unreach",
      "3/3": "port-unreach",
      "3/9": "net-prohibited",
      "3/10": "host-prohibited",
      "3/13": "admin-prohibited",
    });
  });

  it("of ICMPv6 likewise: packet too big (2) and two of the parameter problems (4) decide nothing", () => {
    const decided: Record<string, string> = {};
    for (let type = 0; type < 256; type++) {
      for (let code = 0; code < 256; code++) {
        const reason = icmpv6Reason(type, code);
        if (type === 3) expect(reason).toBe("time-exceeded");
        else if (reason !== undefined) decided[`${type}/${code}`] = reason;
      }
    }
    expect(decided).toEqual({
      "1/0": "no-route",
      "1/1": "admin-prohibited",
      "1/2": "beyond-scope",
      "1/3": "addr-unreach",
      "1/4": "port-unreach",
      "1/5": "policy-fail",
      "1/6": "reject-route",
      "4/1": "param-problem",
    });
  });
});

describe("a refused send", () => {
  it.each([
    ["again", ["ENOBUFS", "EAGAIN", "ENOMEM", "EINTR", "EMFILE", "ENFILE"]],
    ["away", ["ENETDOWN", "ENODEV", "ENXIO"]],
    ["routeless", ["ENETUNREACH", "EADDRNOTAVAIL"]],
    ["later", ["EHOSTUNREACH", "EHOSTDOWN"]],
    ["forbidden", ["EPERM"]],
    ["never", ["EACCES", "EMSGSIZE", "EINVAL", "EAFNOSUPPORT", "EOPNOTSUPP", "EBADF"]],
  ])("means %s for %j, and for no other", (verdict, errnos) => {
    for (const errno of errnos) expect(sendErrorVerdict(errno, 4), errno).toBe(verdict);
    expect(Object.keys(SEND_ERRORS).filter((errno) => SEND_ERRORS[errno] === verdict)).toEqual(errnos);
  });

  it("with IPv6's EINVAL is one for want of room, and an errno nobody knows costs its try", () => {
    expect(sendErrorVerdict("EINVAL", 6)).toBe("again");
    expect(sendErrorVerdict("E200", 4)).toBe("later");
  });
});

it("a row that is neither open nor closed is filtered, whatever made it so", () => {
  const { open, closed, rejected, silent, unsent } = PROBE_STATES;
  expect([open, closed, rejected, silent, unsent].map(portState)).toEqual([
    "open",
    "closed",
    "filtered",
    "filtered",
    "filtered",
  ]);
});
