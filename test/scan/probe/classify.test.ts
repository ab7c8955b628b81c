/** The table of what a refused send means: every errno that sends have, each in one class, and what an unknown one is. */
import { describe, expect, it } from "vitest";
import { SEND_ERRORS, sendErrorVerdict } from "../../../src/scan/probe/classify.ts";

describe("a refused send", () => {
  it.each([
    ["again", ["ENOBUFS", "EAGAIN", "ENOMEM", "EINTR"]],
    ["away", ["ENETDOWN", "ENODEV", "ENXIO"]],
    ["routeless", ["ENETUNREACH", "EADDRNOTAVAIL"]],
    ["later", ["EHOSTUNREACH", "EHOSTDOWN"]],
    ["never", ["EPERM", "EACCES", "EMSGSIZE", "EINVAL", "EAFNOSUPPORT", "EOPNOTSUPP", "EBADF"]],
  ])("means %s for %j, and for no other", (verdict, errnos) => {
    for (const errno of errnos) expect(sendErrorVerdict(errno, 4), errno).toBe(verdict);
    expect(Object.keys(SEND_ERRORS).filter((errno) => SEND_ERRORS[errno] === verdict)).toEqual(errnos);
  });

  it("with IPv6's EINVAL is one for want of room, and an errno nobody knows costs its try", () => {
    expect(sendErrorVerdict("EINVAL", 6)).toBe("again");
    expect(sendErrorVerdict("E200", 4)).toBe("later");
  });
});
