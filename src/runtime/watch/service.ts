/**
 * What a service manager is told (sd_notify(3)), where NOTIFY_SOCKET says that one listens: that the watch is ready, what it is at,
 * that it ends. Tested by test/lab/watch.test.ts.
 */

export interface Service {
  tell(...lines: readonly string[]): void;
}

/** Native code is loaded only where somebody listens. */
export async function openService(env: NodeJS.ProcessEnv = process.env): Promise<Service> {
  const { NOTIFY_SOCKET: path } = env;
  if (path === undefined || !/^[/@]./.test(path)) return { tell() {} };
  // Programs that are started are not to speak for it.
  delete env["NOTIFY_SOCKET"];
  const { sendDatagram } = await import("../../link/sys/notify-socket.ts");
  return { tell: (...lines) => void sendDatagram(path, lines.join("\n")) };
}
