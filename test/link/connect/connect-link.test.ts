/**
 * The link over which the kernel connects, with a connector that does as it is told: how many connects it has under way, how long
 * each, what becomes of a system that has no descriptors left, and what the engine is handed.
 * What real kernels do is in test/lab/connect-link.test.ts.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { type ConnectLink, createConnectLink } from "../../../src/link/connect/connect-link.ts";
import { type Connector, type Outcomes, READ } from "../../../src/link/connect/connector.ts";
import { createReplyDecoder } from "../../../src/scan/probe/reply-decoder.ts";
import { createSynTemplate } from "../../../src/scan/probe/syn-template.ts";
import { ADDRESS_WORDS, loadAddress } from "../../../src/socket/table.ts";
import { parseAddress } from "../../../src/wire/address.ts";
import { FLAGS } from "../../../src/wire/tcp.ts";

const HOLD_US = 1000;
const LOCAL = { 4: "192.0.2.1", 6: "2001:db8::1" } as const;

function addressOf(text: string): Uint8Array {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(text);
  return address;
}

/** Sockets as a test wants them: `open` counts descriptors, `most` of which there are. */
class Sockets implements Connector {
  readonly family = new Map<number, 4 | 6>();
  readonly busy = new Map<number, number>();
  readonly ended: number[] = [];
  readonly said: ((outcomes: Outcomes) => void)[] = [];
  most = 4;
  refusal = "";

  begin(slot: number, family: 4 | 6, _: Uint8Array, __: number, port: number): string {
    if (this.family.get(slot) !== family) this.family.delete(slot);
    if (!this.family.has(slot) && this.family.size >= this.most) return "EMFILE";
    if (this.busy.has(slot)) throw new Error(`slot ${slot} is at work`);
    if (this.refusal !== "") return this.refusal;
    this.family.set(slot, family);
    this.busy.set(slot, port);
    return "";
  }
  has(slot: number, family: 4 | 6): boolean {
    return this.family.get(slot) === family;
  }
  end(slot: number): void {
    const port = this.busy.get(slot);
    if (port !== undefined) this.ended.push(port);
    this.busy.delete(slot);
  }
  poll(outcomes: Outcomes): boolean {
    for (const say of this.said.splice(0)) say(outcomes);
    return true;
  }
  onReadable(): void {}
  read(): number {
    return READ.nothing;
  }
  finish(): void {}
  isFinished(): boolean {
    return false;
  }
  close(): void {}
  /** The slot that connects to a port. */
  of(port: number): number {
    for (const [slot, to] of this.busy) if (to === port) return slot;
    throw new Error(`nothing connects to ${port}`);
  }
}

describe("a link that connects", () => {
  let sockets: Sockets;
  let link: ConnectLink;
  let now: number;
  let idle: number;
  let heard: { readonly flags: number; readonly port: number; readonly ageUs: number }[];
  const { decode, reply } = createReplyDecoder();

  beforeEach(() => {
    sockets = new Sockets();
    now = 5_000;
    idle = 0;
    heard = [];
    const slots = 4;
    link = createConnectLink({
      connector: sockets,
      slots,
      holdUs: HOLD_US,
      stayUs: 0,
      nowUs: () => now,
      idleUs: () => idle,
    });
    link.listen(
      (bytes, at, end, ageUs) => {
        expect(decode(bytes, at, end)).toBe("segment");
        heard.push({ flags: reply.flags, port: reply.peerPort, ageUs });
      },
      () => {},
      () => {},
    );
  });

  /** Sends SYNs to these ports. @returns how many were taken */
  function send(toPorts: readonly number[], family: 4 | 6 = 4, localPort = 61_000): number {
    const peer = new Uint32Array(ADDRESS_WORDS);
    const address = addressOf(family === 4 ? "192.0.2.10" : "2001:db8::10");
    loadAddress(peer, 0, address, 0, address.length);
    const template = createSynTemplate(addressOf(LOCAL[family]), 64);
    const { data, lengths, slotLength } = link.batch;
    for (const [i, port] of toPorts.entries()) {
      template.write(data, i * slotLength, peer, 0, localPort, port, 99, 0);
      lengths[i] = template.length;
    }
    return link.send(0, toPorts.length);
  }
  const decided = (port: number, isOther: (localPort: number) => boolean = () => false): void => {
    const peer = new Uint32Array(ADDRESS_WORDS);
    loadAddress(peer, 0, addressOf("192.0.2.10"), 0, 4);
    link.undecided.decided(peer, 4, port, isOther);
  };

  it("says for how many SYNs there is room, and makes room with each outcome", () => {
    expect(link.undecided.room()).toBe(4);
    expect(send([1, 2, 3])).toBe(3);
    expect(link.undecided.room()).toBe(1);
    const [one, two, three] = [sockets.of(1), sockets.of(2), sockets.of(3)];
    sockets.said.push(
      (to) => to.connected(one),
      (to) => to.refused(two),
      (to) => to.lost(three),
    );
    link.drain();
    expect(heard.map(({ flags, port }) => [port, flags])).toEqual([
      [1, FLAGS.SYN | FLAGS.ACK],
      [2, FLAGS.RST | FLAGS.ACK],
    ]);
    // An open port's connection is reset at once.
    expect(sockets.ended).toContain(1);
    expect(link.undecided.room()).toBe(4);
    expect(sockets.busy.size).toBe(0);
  });

  it("ends a connect before the kernel would send its SYN again, the oldest first, and wakes for it", () => {
    send([1]);
    now += 400;
    send([2]);
    expect(link.undecided.nextInUs()).toBe(HOLD_US - 400);
    now += HOLD_US - 401;
    link.drain();
    expect(sockets.ended).toEqual([]);
    now += 1;
    link.drain();
    expect(sockets.ended).toEqual([1]);
    expect(link.undecided.nextInUs()).toBe(400);
    now += 400;
    link.drain();
    expect(sockets.ended).toEqual([1, 2]);
    expect(link.undecided.nextInUs()).toBe(Number.POSITIVE_INFINITY);
  });

  it("tells what has come, however late it looks", () => {
    send([1]);
    const slot = sockets.of(1);
    sockets.said.push((to) => to.connected(slot));
    now += 10 * HOLD_US;
    link.drain();
    expect(heard).toMatchObject([{ port: 1, flags: FLAGS.SYN | FLAGS.ACK }]);
    expect(link.undecided.room()).toBe(4);
  });

  it("ends every try of a decided pair, and nothing else", () => {
    send([7], 4, 61_000);
    send([8], 4, 61_000);
    send([7], 4, 61_001);
    send([7], 4, 65_000);
    decided(7, (localPort) => localPort === 65_000);
    expect(sockets.ended).toEqual([7, 7]);
    expect([...sockets.busy.values()].sort()).toEqual([7, 8]);
    decided(7);
    expect([...sockets.busy.values()]).toEqual([8]);
    decided(9);
    expect([...sockets.busy.values()]).toEqual([8]);
  });

  it("ends the other tries of a decided pair when one in the middle is over already", () => {
    for (const localPort of [61_000, 61_001, 61_002]) send([7], 4, localPort);
    const [, middle] = sockets.busy.keys();
    sockets.said.push((to) => to.lost(middle));
    link.drain();
    send([8]);
    sockets.ended.length = 0;
    decided(7);
    expect(sockets.ended).toEqual([7, 7]);
    expect([...sockets.busy.values()]).toEqual([8]);
  });

  it("does with fewer sockets when the system has no more, and asks again later", () => {
    sockets.most = 2;
    expect(send([1, 2, 3])).toBe(2);
    expect(send([3])).toBe(0);
    expect(link.sendError).toBe("EMFILE");
    expect(link.undecided.room()).toBe(0);
    decided(1);
    expect(link.undecided.room()).toBe(1);
    sockets.most = 4;
    expect(send([3])).toBe(1);
    expect(link.undecided.room()).toBe(0);
    now += 2_000_000;
    expect(link.undecided.room()).toBe(2);
    expect(send([4, 5])).toBe(2);
  });

  it("gives one IP version's idle sockets to the other", () => {
    sockets.most = 2;
    send([1, 2]);
    expect(send([3], 6)).toBe(0);
    decided(1);
    expect(send([3], 6)).toBe(1);
    expect(sockets.family.size).toBe(2);
    expect(sockets.has(sockets.of(3), 6)).toBe(true);
  });

  it.each(["ENETUNREACH", "EADDRNOTAVAIL", "ENOBUFS", "EPERM"])(
    "refuses a SYN with %s, and loses nothing",
    (errno) => {
      sockets.refusal = errno;
      expect(send([1, 2])).toBe(0);
      expect(link.sendError).toBe(errno);
      sockets.refusal = "";
      expect(link.undecided.room()).toBe(4);
      expect(send([1, 2, 3, 4])).toBe(4);
    },
  );

  it("does not take this machine's own delay for the path's", () => {
    const answer = (port: number, tookUs: number, idleUs: number): number => {
      link.drain();
      send([port]);
      const slot = sockets.of(port);
      now += tookUs;
      idle += idleUs;
      sockets.said.push((to) => to.refused(slot));
      link.drain();
      return tookUs - (heard.at(-1)?.ageUs ?? 0);
    };
    // Idle until it came: its time is the path's.
    expect(answer(1, 100, 100)).toBe(100);
    expect(answer(2, 900, 900)).toBe(900);
    // At work all the while: no more than the quickest is sure.
    expect(answer(3, 900, 0)).toBe(100);
    // At work for a third of it.
    expect(answer(4, 900, 600)).toBe(600);
  });
});
