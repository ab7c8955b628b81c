/** Giving up sending: what is said of each refusal that lasts. */
import { expect, it } from "vitest";
import { stalled } from "../../../src/runtime/system/stall.ts";

it.each([
  [
    "ENOBUFS",
    /for 30 s the kernel has said ENOBUFS; .*full table of neighbours.*a chain at egress that drops$/,
  ],
  ["ENETUNREACH", /its route is gone/],
  ["ENETDOWN", /"ip link" shows whether the interface is up$/],
])("%s", (errno, says) => {
  expect(stalled(errno)).toMatchObject({ code: "ERR_INTERFACE_DOWN", message: expect.stringMatching(says) });
});
