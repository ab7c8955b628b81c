/** Words for files that cannot be written: advice only to those whom it helps. */
import { expect, test } from "vitest";
import { errorCode, reasonOf, systemFault } from "../../../src/runtime/system/file-errors.ts";

test("only who has rights to keep is told how", () => {
  expect(reasonOf("EACCES", false, {})).toBe("permission denied");
  expect(reasonOf("EACCES", true, {})).toMatch(/root's capabilities are given up; --no-drop/);
  expect(reasonOf("EACCES", true, { SUDO_UID: "1000" })).toMatch(
    /under sudo, files are opened as the invoking user/,
  );
});

test("a reason that is not known is named as the system does", () => {
  expect(reasonOf("EIO")).toMatch(/disk may be failing/);
  expect(reasonOf("EBADF")).toBe("EBADF");
  expect(errorCode(Object.assign(new Error("no"), { code: "ENOSPC" }))).toBe("ENOSPC");
  expect(errorCode("odd")).toBe("odd");
});

test("what Node's permission model forbids is no fault of ours, and Node says what allows it", () => {
  const denied = new Error(
    "Access to this API has been restricted. Use --allow-worker to manage permissions.",
  );
  expect(systemFault(Object.assign(denied, { code: "ERR_ACCESS_DENIED" }))).toMatchObject({
    code: "ERR_PLATFORM",
    message: `Node was started with --permission: ${denied.message}`,
  });
  expect(reasonOf("ERR_ACCESS_DENIED")).toMatch(/--permission.*--allow-fs-write/);
});
