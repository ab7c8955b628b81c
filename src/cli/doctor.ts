/** placeholder */
import type { ExitStatus } from "./exit.ts";
import type { Messages } from "./terminal.ts";
export async function doctor(_t: string | undefined, _m: Messages): Promise<ExitStatus> {
  throw new Error("doctor is being written");
}
