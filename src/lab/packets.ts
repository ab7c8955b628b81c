/**
 * Packets in transit, in slots of two fixed sizes: small for probes and their answers, large for data. Nothing is allocated
 * per packet; memory grows with the number in transit, up to a bound.
 */

/** The longest packet: Ethernet's MTU. */
export const MAX_PACKET_LENGTH = 1500;

export interface PacketStore {
  /** Slots in use. */
  readonly used: number;
  /** Copies a packet in. @returns its slot; -1 when there is no room, or the packet is too long */
  put(bytes: Uint8Array, at: number, length: number): number;
  /** Where a slot's packet is: `bytes(slot)[offset(slot)]` and `length(slot)` more. Valid until the next `put`. */
  bytes(slot: number): Uint8Array;
  offset(slot: number): number;
  length(slot: number): number;
  free(slot: number): void;
}

/** Length of slot (a power of two), and most slots. 128 bytes hold an ICMPv6 error about a SYN with options. */
const SMALL = { shift: 7, most: 1 << 20 };
const LARGE = { shift: 11, most: 1 << 14 };

export function createPacketStore(): PacketStore {
  const small = createSlots(SMALL.shift, SMALL.most);
  const large = createSlots(LARGE.shift, LARGE.most);
  // Slot numbers: small ones even, large ones odd.
  return {
    get used() {
      return small.used() + large.used();
    },
    put: (bytes, at, length) => {
      if (length <= 1 << SMALL.shift) {
        const slot = small.take(length);
        if (slot >= 0) {
          const to = small.memory();
          const offset = slot << SMALL.shift;
          for (let i = 0; i < length; i++) to[offset + i] = bytes[at + i];
        }
        return slot < 0 ? slot : slot * 2;
      }
      if (length > MAX_PACKET_LENGTH) return -1;
      const slot = large.take(length);
      if (slot >= 0) large.memory().set(bytes.subarray(at, at + length), slot << LARGE.shift);
      return slot < 0 ? slot : slot * 2 + 1;
    },
    bytes: (slot) => ((slot & 1) === 0 ? small : large).memory(),
    offset: (slot) => (slot >> 1) << ((slot & 1) === 0 ? SMALL : LARGE).shift,
    length: (slot) => ((slot & 1) === 0 ? small : large).length(slot >> 1),
    free: (slot) => ((slot & 1) === 0 ? small : large).free(slot >> 1),
  };
}

function createSlots(shift: number, most: number) {
  let capacity = 64;
  let memory = new Uint8Array(capacity << shift);
  let lengths = new Uint16Array(capacity);
  /** The free slots, as a stack. */
  let free = Int32Array.from({ length: capacity }, (_, i) => capacity - 1 - i);
  let freeCount = capacity;

  function grow(): void {
    const [oldMemory, oldLengths] = [memory, lengths];
    const before = capacity;
    capacity *= 2;
    memory = new Uint8Array(capacity << shift);
    memory.set(oldMemory);
    lengths = new Uint16Array(capacity);
    lengths.set(oldLengths);
    free = new Int32Array(capacity);
    for (let slot = capacity - 1; slot >= before; slot--) free[freeCount++] = slot;
  }

  return {
    used: (): number => capacity - freeCount,
    memory: (): Uint8Array => memory,
    length: (slot: number): number => lengths[slot],
    take: (length: number): number => {
      if (freeCount === 0) {
        if (capacity === most) return -1;
        grow();
      }
      const slot = free[--freeCount];
      lengths[slot] = length;
      return slot;
    },
    free: (slot: number): void => {
      free[freeCount++] = slot;
    },
  };
}
