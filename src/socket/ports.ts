/**
 * Local (source) ports: which range a run uses, and a pool that lends each port to one live row at a time.
 *
 * The range lies above the kernel's ip_local_port_range, so that no probe shares a port with a connection of the kernel's
 * own. Lending goes round a shuffled ring: a port that was just returned is the last to be lent again, so that a straggler
 * finds nobody at its old address. Pure: the random source is passed in.
 */

export interface PortPool {
  /** Ports free to lend. */
  readonly available: number;
  readonly size: number;
  /** Lends a port other than `avoid`; 0 when none is free. */
  take(avoid: number): number;
  /** Takes back a port that was lent. */
  giveBack(port: number): void;
}

/** @param random integers from 0 to `below - 1`, uniform */
export function createPortPool(first: number, last: number, random: (below: number) => number): PortPool {
  if (!(first >= 1 && first <= last && last <= 65_535))
    throw new RangeError(`bad port range ${first}-${last}`);
  const size = last - first + 1;
  const ring = Uint16Array.from({ length: size }, (_, i) => first + i);
  for (let i = size - 1; i > 0; i--) {
    const j = random(i + 1);
    const port = ring[i];
    ring[i] = ring[j];
    ring[j] = port;
  }
  let head = 0;
  let available = size;
  return {
    get available() {
      return available;
    },
    size,
    take: (avoid) => {
      if (available === 0) return 0;
      let port = ring[head];
      if (port === avoid) {
        if (available === 1) return 0;
        // Swap with the next free one.
        const next = (head + 1) % size;
        ring[head] = ring[next];
        ring[next] = port;
        port = ring[head];
      }
      head = (head + 1) % size;
      available--;
      return port;
    },
    giveBack: (port) => {
      if (available === size || port < first || port > last)
        throw new RangeError(`port ${port} was not lent`);
      ring[(head + available) % size] = port;
      available++;
    },
  };
}

/** `-g PORT`: every probe shares the one port the user chose; the 4-tuples still differ by their peers. */
export const createSinglePortPool = (port: number): PortPool => ({
  available: Number.POSITIVE_INFINITY,
  size: Number.POSITIVE_INFINITY,
  take: () => port,
  giveBack: () => {},
});

/** Fewer ports than this above the kernel's range are not worth keeping to. */
const MINIMUM_PORTS = 256;

/**
 * The range for a run, given the kernel's `ip_local_port_range`.
 * `shared` is true when there is no room above it and the range overlaps the kernel's: collisions are then possible.
 * The last port stays below 65535: some rule syntaxes cannot name a range that ends there.
 */
export function choosePortRange(
  kernelFirst: number,
  kernelLast: number,
): { first: number; last: number; shared: boolean } {
  const above = Math.max(kernelLast + 1, 61_000);
  if (65_534 - above + 1 >= MINIMUM_PORTS) return { first: above, last: 65_534, shared: false };
  const below = Math.max(1024, 20_000);
  if (kernelFirst - 1 - below + 1 >= MINIMUM_PORTS)
    return { first: below, last: kernelFirst - 1, shared: false };
  return { first: 61_000, last: 65_534, shared: true };
}
