/**
 * CRC-32 as Ethernet, gzip and PNG have it (IEEE 802.3 §3.2.9): polynomial 0x04c11db7, reflected, all ones before and after.
 * Of this project's own because Node 20 has `zlib.crc32` only in its later releases.
 */

const POLYNOMIAL = 0xedb8_8320;

/** Table k: what a byte does to the remainder k bytes further on, so that four bytes are taken in one step. */
const TABLES = new Int32Array(4 * 256);
for (let i = 0; i < 256; i++) {
  let c = i;
  for (let bit = 0; bit < 8; bit++) c = (c & 1) === 0 ? c >>> 1 : (c >>> 1) ^ POLYNOMIAL;
  TABLES[i] = c;
}
for (let i = 256; i < TABLES.length; i++) {
  TABLES[i] = (TABLES[i - 256] >>> 8) ^ TABLES[TABLES[i - 256] & 0xff];
}

/** The CRC-32 of the bytes `[at, end)`, unsigned. */
export function crc32(b: Uint8Array, at: number, end: number): number {
  let c = -1;
  let i = at;
  for (; i + 4 <= end; i += 4) {
    c ^= b[i] | (b[i + 1] << 8) | (b[i + 2] << 16) | (b[i + 3] << 24);
    c =
      TABLES[768 + (c & 0xff)] ^
      TABLES[512 + ((c >>> 8) & 0xff)] ^
      TABLES[256 + ((c >>> 16) & 0xff)] ^
      TABLES[c >>> 24];
  }
  for (; i < end; i++) c = (c >>> 8) ^ TABLES[(c ^ b[i]) & 0xff];
  return ~c >>> 0;
}
