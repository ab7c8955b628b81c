/**
 * Mutations of an input: what a coverage-guided fuzzer tries next. Pure, from a seeded source of numbers, so that a run can be
 * repeated. Not here: which inputs are kept (fuzz.ts), what they are fed to (targets.ts).
 */

/** Integers from 0 to `below - 1`. */
export type Draw = (below: number) => number;

/** Bytes at which length checks, flags and text parsers change their minds. */
const INTERESTING = [0, 1, 4, 5, 6, 0x0a, 0x20, 0x2d, 0x3a, 0x45, 0x60, 0x7f, 0x80, 0xfe, 0xff];

/** Numbers that follow from a seed (mulberry32). Not for secrets. */
export function createDraw(seed: number): Draw {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** @param words tokens of the target's language; @param others inputs to splice with */
export function mutate(
  input: Uint8Array,
  others: readonly Uint8Array[],
  words: readonly Uint8Array[],
  most: number,
  draw: Draw,
): Uint8Array {
  let bytes = input;
  for (let rounds = 1 + draw(4); rounds > 0; rounds--) bytes = mutateOnce(bytes, others, words, draw);
  return bytes.length > most ? bytes.slice(0, most) : bytes;
}

function mutateOnce(
  input: Uint8Array,
  others: readonly Uint8Array[],
  words: readonly Uint8Array[],
  draw: Draw,
): Uint8Array {
  const at = draw(input.length + 1);
  const length = 1 + draw(Math.max(1, Math.min(32, input.length - at)));
  switch (draw(words.length > 0 ? 10 : 8)) {
    case 0: {
      if (input.length === 0) return Uint8Array.of(draw(256));
      const bytes = input.slice();
      bytes[at % bytes.length] ^= 1 << draw(8);
      return bytes;
    }
    case 1: {
      if (input.length === 0) return Uint8Array.of(draw(256));
      const bytes = input.slice();
      bytes[at % bytes.length] = draw(256);
      return bytes;
    }
    case 2: {
      if (input.length === 0) return Uint8Array.of(0);
      const bytes = input.slice();
      bytes[at % bytes.length] = INTERESTING[draw(INTERESTING.length)];
      return bytes;
    }
    case 3: {
      if (input.length < 2) return input;
      const bytes = input.slice();
      const i = at % (bytes.length - 1);
      const value = ((bytes[i] << 8) | bytes[i + 1]) + draw(33) - 16;
      bytes[i] = value >>> 8;
      bytes[i + 1] = value;
      return bytes;
    }
    case 4:
      return splice(input, at, length, new Uint8Array(0));
    case 5:
      return splice(input, at, 0, input.slice(at, at + length));
    case 6:
      return splice(
        input,
        at,
        0,
        Uint8Array.from({ length }, () => draw(256)),
      );
    case 7: {
      const other = others[draw(others.length)];
      const from = draw(other.length + 1);
      return splice(input, at, draw(2) * (input.length - at), other.slice(from, from + 1 + draw(64)));
    }
    case 8:
      return splice(input, at, 0, words[draw(words.length)]);
    default:
      return splice(input, at, length, words[draw(words.length)]);
  }
}

function splice(input: Uint8Array, at: number, removed: number, inserted: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(input.length - Math.min(removed, input.length - at) + inserted.length);
  bytes.set(input.subarray(0, at));
  bytes.set(inserted, at);
  bytes.set(input.subarray(at + removed), at + inserted.length);
  return bytes;
}
