/**
 * What connect-link.test.ts starts inside a namespace: a kernel connector of one slot, which connects to an unreachable host, is ended
 * when that is known but not told yet, and connects to a silent host and to an open port next. Prints what it was told of each.
 *
 * Arguments: the unreachable address, the silent one, the open one and its port.
 */
import type { Outcomes } from "../../src/link/connect/connector.ts";
import { openKernelConnector } from "../../src/link/connect/kernel-connector.ts";
import { kernelPorts } from "../../src/runtime/system/system.ts";
import { address } from "../sim/run.ts";

const [unreachable, silent, open] = process.argv.slice(2, 5).map(address);
const openPort = Number(process.argv[5]);
const family = unreachable.length === 4 ? 4 : 6;
const connector = openKernelConnector({ slots: 1, ttl: 64, family, kernelPorts: kernelPorts() });
if (connector === undefined) throw new Error("no connector");

let told: string[] = [];
const tell = (what: string) => (): void => {
  told.push(what);
};
const outcomes: Outcomes = {
  connected: tell("connected"),
  refused: tell("refused"),
  unreachable: tell("unreachable"),
  lost: tell("lost"),
  changed: tell("changed"),
};
let wake = (): void => {};
connector.onReadable(() => wake());
const readable = (): Promise<void> =>
  new Promise((resolve) => {
    wake = resolve;
  });

function begin(to: Uint8Array, port: number): void {
  const said = connector?.begin(0, family, to, 0, port);
  if (said !== "") throw new Error(said);
}

begin(unreachable, 80);
await readable();
connector.end(0);
begin(silent, 80);
connector.poll(outcomes);
const ofSilent = told;
connector.end(0);
told = [];
begin(open, openPort);
while (told.length === 0) {
  await readable();
  connector.poll(outcomes);
}
process.stdout.write(JSON.stringify({ silent: ofSilent, open: told }));
connector.close();
