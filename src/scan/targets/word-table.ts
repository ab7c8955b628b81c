/**
 * Rows of unsigned 32-bit words in chunks of shared memory: millions of addresses without an object each. Tables grow without
 * moving, are sorted in place, and can be read by worker threads.
 *
 * The caller decides what the words mean.
 */

/** Rows in a chunk, as a power of two. */
const CHUNK_BITS = 13;
const CHUNK_ROWS = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_ROWS - 1;
/** Memory is allocated in pieces of this many bytes and cut into chunks: the C library keeps small pieces when they are freed. */
const PIECE_LENGTH = 1 << 21;

export interface Rows {
  /** Words in a row. */
  readonly width: number;
  /** Rows in use. */
  length: number;
  readonly chunks: Uint32Array<SharedArrayBuffer>[];
  /** Free chunks: of another table that has been read, or left over from a piece. */
  readonly spare: Uint32Array<SharedArrayBuffer>[];
}

export const createRows = (width: number, spare: Rows["spare"] = []): Rows => ({
  width,
  length: 0,
  chunks: [],
  spare,
});

/** The chunk that holds a row, and where in it the row begins. */
export const chunkOf = (rows: Rows, row: number): Uint32Array => rows.chunks[row >>> CHUNK_BITS];
export const offsetOf = (rows: Rows, row: number): number => (row & CHUNK_MASK) * rows.width;

/** Appends the first `width` words of `words` as a row. */
export function appendRow(rows: Rows, words: Uint32Array): void {
  const { width, length, chunks, spare } = rows;
  if ((length & CHUNK_MASK) === 0) chunks.push(spare.pop() ?? cutPiece(rows));
  const chunk = chunks[length >>> CHUNK_BITS];
  const at = (length & CHUNK_MASK) * width;
  for (let w = 0; w < width; w++) chunk[at + w] = words[w];
  rows.length++;
}

/** Cuts a new piece into chunks. @returns the first of them; the others are spare */
function cutPiece({ width, spare }: Rows): Uint32Array<SharedArrayBuffer> {
  const piece = new SharedArrayBuffer(PIECE_LENGTH);
  const length = CHUNK_ROWS * width;
  const bytes = length * Uint32Array.BYTES_PER_ELEMENT;
  for (let at = bytes; at + bytes <= PIECE_LENGTH; at += bytes)
    spare.push(new Uint32Array(piece, at, length));
  return new Uint32Array(piece, 0, length);
}

/** Compares `count` words at two places: -1, 0 or 1. (Their difference might not fit a small integer, and be allocated.) */
export function compareWords(
  a: Uint32Array,
  aAt: number,
  b: Uint32Array,
  bAt: number,
  count: number,
): number {
  for (let w = 0; w < count; w++) {
    if (a[aAt + w] !== b[bAt + w]) return a[aAt + w] < b[bAt + w] ? -1 : 1;
  }
  return 0;
}

/** Compares the beginning of a row with `count` words at `words[at]`. */
export const compareRow = (rows: Rows, row: number, words: Uint32Array, at: number, count: number): number =>
  compareWords(chunkOf(rows, row), offsetOf(rows, row), words, at, count);

/** The last row whose beginning is not above `count` words at `words[at]`, in sorted rows; -1 when all are above. */
export function findRow(rows: Rows, words: Uint32Array, at: number, count: number): number {
  let low = -1;
  let high = rows.length;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (compareRow(rows, middle, words, at, count) <= 0) low = middle;
    else high = middle;
  }
  return low;
}

/** Moves the chunk that ends right before a row to `spare`; its rows must not be read any more. */
export function releaseBefore(rows: Rows, row: number, spare: Rows["spare"]): void {
  if (row > 0 && (row & CHUNK_MASK) === 0) spare.push(rows.chunks[(row >>> CHUNK_BITS) - 1]);
}

/** Below this many rows an insertion sort is quicker. */
const FEW = 16;

/** Sorts rows in place, by their first word, then the second, and so on. */
export function sortRows(rows: Rows): void {
  const { width, chunks, length } = rows;
  // Inlined for speed: sorting is most of the cost of reading a long list.
  const compare = (a: number, b: number): number => {
    const aChunk = chunks[a >>> CHUNK_BITS];
    const bChunk = chunks[b >>> CHUNK_BITS];
    const aAt = (a & CHUNK_MASK) * width;
    const bAt = (b & CHUNK_MASK) * width;
    for (let w = 0; w < width; w++) {
      const difference = aChunk[aAt + w] - bChunk[bAt + w];
      if (difference !== 0) return difference;
    }
    return 0;
  };
  let sorted = 1;
  while (sorted < length && compare(sorted - 1, sorted) <= 0) sorted++;
  // Most lists come sorted.
  if (sorted >= length) return;

  const swap = (a: number, b: number): void => {
    const aChunk = chunks[a >>> CHUNK_BITS];
    const bChunk = chunks[b >>> CHUNK_BITS];
    const aAt = (a & CHUNK_MASK) * width;
    const bAt = (b & CHUNK_MASK) * width;
    for (let w = 0; w < width; w++) {
      const word = aChunk[aAt + w];
      aChunk[aAt + w] = bChunk[bAt + w];
      bChunk[bAt + w] = word;
    }
  };
  const pivot = new Uint32Array(width);
  const comparePivot = (row: number): number => {
    const chunk = chunks[row >>> CHUNK_BITS];
    const at = (row & CHUNK_MASK) * width;
    for (let w = 0; w < width; w++) {
      const difference = chunk[at + w] - pivot[w];
      if (difference !== 0) return difference;
    }
    return 0;
  };
  /** Hoare's, around the median of three. @returns where the upper part begins; `to` is exclusive */
  const partition = (from: number, to: number): number => {
    const middle = (from + to) >>> 1;
    if (compare(middle, from) < 0) swap(middle, from);
    if (compare(to - 1, from) < 0) swap(to - 1, from);
    if (compare(to - 1, middle) < 0) swap(to - 1, middle);
    const chunk = chunkOf(rows, middle);
    const at = offsetOf(rows, middle);
    for (let w = 0; w < width; w++) pivot[w] = chunk[at + w];
    let i = from;
    let j = to - 1;
    for (;;) {
      do i++;
      while (comparePivot(i) < 0);
      do j--;
      while (comparePivot(j) > 0);
      if (i >= j) return j + 1;
      swap(i, j);
    }
  };
  const quickSort = (from: number, to: number): void => {
    // Recurse into the shorter side and loop over the longer one: the stack stays logarithmic.
    while (to - from > FEW) {
      const cut = partition(from, to);
      if (cut - from < to - cut) {
        quickSort(from, cut);
        from = cut;
      } else {
        quickSort(cut, to);
        to = cut;
      }
    }
    for (let i = from + 1; i < to; i++)
      for (let j = i; j > from && compare(j, j - 1) < 0; j--) swap(j, j - 1);
  };
  quickSort(0, length);
}
