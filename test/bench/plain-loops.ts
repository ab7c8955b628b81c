/**
 * The yardstick of `npm run bench:engine`: what a prober with full state cannot do without, written as plain loops over typed
 * arrays. For each pair: its place in a random order, a row, its host, a keyed sequence number, a SYN with its checksums, a timer;
 * then its answer parsed, its checksums verified, the row found, the proof, the round trip of the host, a record of the verdict.
 *
 * One path, one worker, a fixed rate: no scanner, nothing is adapted, and hashes are shorter than those that have to withstand
 * somebody.
 */
import {
  createAnswers,
  type Family,
  isAnswered,
  PORTS,
  type Share,
  SLOT_LENGTH,
  SLOTS,
} from "./in-memory.ts";

/** Pairs of the space, halves of a place of its order, rows, slots of the index, hosts, buckets of a millisecond; powers of two. */
const PAIR_BITS = 22;
const HALF = PAIR_BITS / 2;
const HALF_MASK = (1 << HALF) - 1;
const ROWS = 1 << 16;
const INDEX_MASK = 2 * ROWS - 1;
const HOSTS = 1 << 18;
const BUCKETS = 1024;
const RECORDS = 4096;
const RECORD_LENGTH = 64;
const WORDS = 4;
const PORT_BITS = Math.log2(PORTS);

const TRIES = 3;
const WAIT_US = 50_000;
const FIRST_PORT = 61_000;
const PORT_COUNT = 4000;
const NONE = -1;
const STATES = { asked: 1, open: 2, closed: 3, silent: 4 } as const;
const KEYS = [0x9e3779b1, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f] as const;

const mix = (word: number, key: number): number => {
  let x = Math.imul(word ^ (word >>> 15), key);
  x = Math.imul(x ^ (x >>> 13), 0x5bd1e995);
  return (x ^ (x >>> 16)) >>> 0;
};
const fold = (total: number): number => {
  const once = (total & 0xffff) + (total >>> 16);
  return ~((once & 0xffff) + (once >>> 16)) & 0xffff;
};
const sum16 = (b: Uint8Array, at: number, end: number): number => {
  let total = 0;
  for (let i = at; i < end; i += 2) total += (b[i] << 8) | b[i + 1];
  return total;
};
const u32 = (b: Uint8Array, at: number): number =>
  ((b[at] << 24) | (b[at + 1] << 16) | (b[at + 2] << 8) | b[at + 3]) >>> 0;

/** @returns what takes the loops on until so many pairs are decided */
export function createPlainLoops(family: Family, share: Share): (decided: number) => void {
  const isV4 = family === 4;
  const header = isV4 ? 20 : 40;
  const source = isV4 ? 12 : 8;
  const target = isV4 ? 16 : 24;
  const addressLength = isV4 ? 4 : 16;
  // The first three words of each address, and the first of the last ones: 198.18.0.0, 2001:db8:1::.
  const network = isV4 ? [0, 0, 0xffff] : [0x2001_0db8, 0x0001_0000, 0];
  const firstHost = isV4 ? 0xc612_0000 : 0;
  const dst = new Uint32Array(ROWS * WORDS);
  const peerPort = new Uint16Array(ROWS);
  const localPort = new Uint16Array(ROWS);
  const isnOf = new Uint32Array(ROWS);
  const state = new Uint8Array(ROWS);
  const tries = new Uint8Array(ROWS);
  const sentAt = new Float64Array(ROWS);
  const hostOf = new Int32Array(ROWS);
  const next = new Int32Array(ROWS);
  const previous = new Int32Array(ROWS);
  const index = new Int32Array(INDEX_MASK + 1).fill(NONE);
  const free = Int32Array.from({ length: ROWS }, (_, i) => ROWS - 1 - i);
  let freeCount = ROWS;
  const hosts = new Uint32Array(HOSTS);
  const srtt = new Float32Array(HOSTS);
  const rttvar = new Float32Array(HOSTS);
  const sentTo = new Uint16Array(HOSTS);
  const answeredBy = new Uint16Array(HOSTS);
  const heads = new Int32Array(BUCKETS).fill(NONE);
  let tick = 0;
  const out = new Uint8Array(SLOTS * SLOT_LENGTH);
  const records = new Uint8Array(RECORD_LENGTH * RECORDS);
  const recordView = new DataView(records.buffer);
  let recordCount = 0;
  const again = new Int32Array(ROWS);
  let againCount = 0;
  let takenAgain = 0;
  let started = 0;
  let decided = 0;
  const now = Float64Array.of(0.5);
  const { answer, answerTo } = createAnswers(family);

  for (let slot = 0; slot < SLOTS; slot++) {
    const at = slot * SLOT_LENGTH;
    if (isV4) out.set([0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1], at);
    else out.set([0x60, 0, 0, 0, 0, 24, 6, 64, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], at);
    out.set([0x60, 2, 4, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4], at + header + 12);
  }
  const headerSum = sum16(out, 0, header);
  const segmentSum = sum16(out, header, header + 24) + 6 + 24 + sum16(out, source, target);

  function permute(place: number): number {
    let left = place >>> HALF;
    let right = place & HALF_MASK;
    for (let k = 0; k < 4; k++) {
      const before = right;
      right = left ^ (mix(right + 1, KEYS[k]) & HALF_MASK);
      left = before;
    }
    return (left << HALF) | right;
  }

  const hash = (address: number, peer: number, local: number): number =>
    mix(address ^ (peer << 16) ^ local, KEYS[1]) & INDEX_MASK;

  /** @param at where in a packet the peer's address stands */
  function find(b: Uint8Array, at: number, address: number, peer: number, local: number): number {
    for (let h = hash(address, peer, local); ; h = (h + 1) & INDEX_MASK) {
      const row = index[h];
      if (row < 0) return NONE;
      const w = row * WORDS;
      if (dst[w + 3] !== address || peerPort[row] !== peer || localPort[row] !== local) continue;
      if (isV4) return row;
      if (dst[w] === u32(b, at) && dst[w + 1] === u32(b, at + 4) && dst[w + 2] === u32(b, at + 8)) return row;
    }
  }

  function remove(row: number): void {
    let hole = hash(dst[row * WORDS + 3], peerPort[row], localPort[row]);
    while (index[hole] !== row) hole = (hole + 1) & INDEX_MASK;
    for (let slot = (hole + 1) & INDEX_MASK; index[slot] >= 0; slot = (slot + 1) & INDEX_MASK) {
      const other = index[slot];
      const wanted = hash(dst[other * WORDS + 3], peerPort[other], localPort[other]);
      if (((slot - wanted) & INDEX_MASK) < ((slot - hole) & INDEX_MASK)) continue;
      index[hole] = other;
      hole = slot;
    }
    index[hole] = NONE;
  }

  function findHost(address: number): number {
    for (let h = mix(address, KEYS[2]) & (HOSTS - 1); ; h = (h + 1) & (HOSTS - 1)) {
      if (hosts[h] === address + 1) return h;
      if (hosts[h] !== 0) continue;
      hosts[h] = address + 1;
      return h;
    }
  }

  function unlink(row: number): void {
    const after = next[row];
    const before = previous[row];
    if (before >= 0) next[before] = after;
    else heads[~before] = after;
    if (after >= 0) previous[after] = before;
  }

  function arm(row: number, atUs: number): void {
    const bucket = ((atUs / 1000) | 0) & (BUCKETS - 1);
    const after = heads[bucket];
    next[row] = after;
    previous[row] = ~bucket;
    if (after >= 0) previous[after] = row;
    heads[bucket] = row;
  }

  function send(row: number, at: number): void {
    const w = row * WORDS;
    const address = dst[w + 3];
    const peer = peerPort[row];
    const local = FIRST_PORT + ((mix(peer + row, KEYS[0]) + tries[row]) % PORT_COUNT);
    const isn = mix(mix(address ^ KEYS[3], KEYS[0]) ^ ((peer << 16) | local), KEYS[1]);
    localPort[row] = local;
    isnOf[row] = isn;
    tries[row]++;
    sentAt[row] = now[0];
    let h = hash(address, peer, local);
    while (index[h] >= 0) h = (h + 1) & INDEX_MASK;
    index[h] = row;
    let addresses = 0;
    for (let word = isV4 ? 3 : 0; word < WORDS; word++) {
      const value = dst[w + word];
      const to = at + (isV4 ? target : target + 4 * word);
      out[to] = value >>> 24;
      out[to + 1] = value >>> 16;
      out[to + 2] = value >>> 8;
      out[to + 3] = value;
      addresses += (value >>> 16) + (value & 0xffff);
    }
    if (isV4) {
      const id = isn & 0xffff;
      const check = fold(headerSum + id + addresses);
      out[at + 4] = id >>> 8;
      out[at + 5] = id;
      out[at + 10] = check >>> 8;
      out[at + 11] = check;
    }
    const t = at + header;
    out[t] = local >>> 8;
    out[t + 1] = local;
    out[t + 2] = peer >>> 8;
    out[t + 3] = peer;
    out[t + 4] = isn >>> 24;
    out[t + 5] = isn >>> 16;
    out[t + 6] = isn >>> 8;
    out[t + 7] = isn;
    const check = fold(segmentSum + local + peer + (isn >>> 16) + (isn & 0xffff) + addresses);
    out[t + 16] = check >>> 8;
    out[t + 17] = check;
    sentTo[hostOf[row]]++;
    arm(row, now[0] + WAIT_US);
  }

  function start(at: number): void {
    const pair = permute(started++);
    const row = free[--freeCount];
    const w = row * WORDS;
    const address = firstHost + (pair >>> PORT_BITS);
    for (let word = 0; word < 3; word++) dst[w + word] = network[word];
    dst[w + 3] = address;
    peerPort[row] = 1 + (pair & (PORTS - 1));
    state[row] = STATES.asked;
    tries[row] = 0;
    hostOf[row] = findHost(address);
    send(row, at);
  }

  function decide(row: number, as: number, rtt: number): void {
    const at = (recordCount++ & (RECORDS - 1)) * RECORD_LENGTH;
    for (let word = 0; word < WORDS; word++) recordView.setUint32(at + 4 * word, dst[row * WORDS + word]);
    recordView.setUint16(at + 16, peerPort[row]);
    records[at + 18] = as;
    records[at + 19] = tries[row];
    recordView.setFloat64(at + 24, rtt);
    recordView.setFloat64(at + 32, sentAt[row]);
    recordView.setUint32(at + 40, row);
    remove(row);
    state[row] = as;
    free[freeCount++] = row;
    decided++;
  }

  function receive(b: Uint8Array, at: number, end: number): void {
    const t = at + header;
    if (t + 20 > end) return;
    let length = 0;
    if (isV4) {
      if (b[at] !== 0x45 || b[at + 9] !== 6 || fold(sum16(b, at, t)) !== 0) return;
      length = ((b[at + 2] << 8) | b[at + 3]) - header;
    } else {
      if (b[at] >>> 4 !== 6 || b[at + 6] !== 6) return;
      length = (b[at + 4] << 8) | b[at + 5];
    }
    if (t + length > end) return;
    const addresses = sum16(b, at + source, at + source + 2 * addressLength);
    if (fold(sum16(b, t, t + length) + 6 + length + addresses) !== 0) return;
    const address = u32(b, at + target - 4);
    const peer = (b[t] << 8) | b[t + 1];
    const local = (b[t + 2] << 8) | b[t + 3];
    const row = find(b, at + source, address, peer, local);
    if (row < 0 || state[row] !== STATES.asked) return;
    if (u32(b, t + 8) !== (isnOf[row] + 1) >>> 0) return;
    const rtt = now[0] - sentAt[row];
    const host = hostOf[row];
    answeredBy[host]++;
    if (srtt[host] === 0) {
      srtt[host] = rtt;
      rttvar[host] = rtt / 2;
    } else {
      rttvar[host] += (Math.abs(rtt - srtt[host]) - rttvar[host]) / 4;
      srtt[host] += (rtt - srtt[host]) / 8;
    }
    unlink(row);
    decide(row, (b[t + 13] & 2) !== 0 ? STATES.open : STATES.closed, rtt);
  }

  function expire(): void {
    const to = (now[0] / 1000) | 0;
    for (; tick <= to; tick++) {
      const bucket = tick & (BUCKETS - 1);
      let row = heads[bucket];
      heads[bucket] = NONE;
      while (row >= 0) {
        const after = next[row];
        if (tries[row] < TRIES) {
          remove(row);
          again[againCount++ & (ROWS - 1)] = row;
        } else decide(row, STATES.silent, 0);
        row = after;
      }
    }
  }

  return (until) => {
    while (decided < until) {
      let count = 0;
      for (; count < SLOTS; count++) {
        const at = count * SLOT_LENGTH;
        if (takenAgain < againCount) send(again[takenAgain++ & (ROWS - 1)], at);
        else if (freeCount > 0) start(at);
        else break;
      }
      now[0] += 300.125;
      for (let slot = 0; slot < count; slot++) {
        if (!isAnswered(out, slot * SLOT_LENGTH, family, share)) continue;
        answerTo(out, slot * SLOT_LENGTH);
        receive(answer, 0, answer.length);
      }
      expire();
    }
  };
}
