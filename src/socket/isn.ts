/**
 * Initial sequence numbers as proofs: a keyed hash of the 4-tuple (the idea of RFC 6528, without its clock), so that
 * only a host that saw the probe can answer it, even when this side has forgotten the probe.
 *
 * The hash is HalfSipHash-2-4 (Aumasson and Bernstein's reference code: SipHash with 32-bit words, a 64-bit key, 32-bit
 * output), because JavaScript computes on 32-bit words. Every run draws a fresh key, and a run is short: the key need not
 * resist an attacker for longer than that. Not here: the random source (runtime/).
 */

/** Length of the key in bytes. */
export const ISN_KEY_LENGTH = 8;

/**
 * Computes the ISN of a probe from `local` to `peer`, both as four 32-bit words (IPv4 mapped, RFC 4291 §2.5.5.2).
 * @returns the ISN as a signed 32-bit number, which V8 returns without allocating; `>>> 0` makes it a sequence number
 */
export type IsnHash = (
  words: Uint32Array,
  localAt: number,
  peerWords: Uint32Array,
  peerAt: number,
  localPort: number,
  peerPort: number,
) => number;

/** Words of a message, the one with the length included; and those of them that most 4-tuples of a run share: all but the peer's last one, and the ports. */
const WORDS = 10;
const SHARED = 7;

/** @param key 8 random bytes */
export function createIsnHash(key: Uint8Array): IsnHash {
  if (key.length !== ISN_KEY_LENGTH) throw new RangeError(`the ISN key has ${ISN_KEY_LENGTH} bytes`);
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  const k0 = view.getUint32(0, true) | 0;
  const k1 = view.getUint32(4, true) | 0;
  /** The last shared words, and the state after them, from which the next 4-tuple that has them goes on. */
  const shared = new Uint32Array(SHARED);
  const state = new Int32Array(4);
  let isShared = false;

  return (local, localAt, peer, peerAt, localPort, peerPort) => {
    const goesOn =
      isShared &&
      peer[peerAt] === shared[4] &&
      peer[peerAt + 1] === shared[5] &&
      peer[peerAt + 2] === shared[6] &&
      local[localAt + 3] === shared[3] &&
      local[localAt + 2] === shared[2] &&
      local[localAt + 1] === shared[1] &&
      local[localAt] === shared[0];
    let v0 = goesOn ? state[0] : k0;
    let v1 = goesOn ? state[1] : k1;
    let v2 = goesOn ? state[2] : 0x6c796765 ^ k0;
    let v3 = goesOn ? state[3] : 0x74656462 ^ k1;
    // The round is written out twice: a function that returns four words would allocate.
    // Nine message words (two addresses, two ports), then the word that carries the length.
    for (let i = goesOn ? SHARED : 0; i < WORDS; i++) {
      if (i === SHARED && !goesOn) {
        for (let w = 0; w < SHARED; w++) shared[w] = w < 4 ? local[localAt + w] : peer[peerAt + w - 4];
        state[0] = v0;
        state[1] = v1;
        state[2] = v2;
        state[3] = v3;
        isShared = true;
      }
      const m =
        i < 4
          ? local[localAt + i]
          : i < 8
            ? peer[peerAt + i - 4]
            : i === 8
              ? (localPort << 16) | peerPort
              : 36 << 24;
      v3 ^= m;
      for (let round = 0; round < 2; round++) {
        v0 = (v0 + v1) | 0;
        v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
        v0 = (v0 << 16) | (v0 >>> 16);
        v2 = (v2 + v3) | 0;
        v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
        v0 = (v0 + v3) | 0;
        v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
        v2 = (v2 + v1) | 0;
        v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
        v2 = (v2 << 16) | (v2 >>> 16);
      }
      v0 ^= m;
    }
    v2 ^= 0xff;
    for (let round = 0; round < 4; round++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    return v1 ^ v3;
  };
}
