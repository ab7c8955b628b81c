/**
 * Local (source) ports: the range of a run, and the port of each try of a probe.
 *
 * The range lies above the kernel's ip_local_port_range, or else below it, so that no probe shares a port with a connection of the
 * kernel's own; where there is room in neither, within it. The tries of one probe leave from different ports, so that a reply's port
 * names the try. Probes of different peers share ports freely: only the 4-tuple is unique. Lasting connections have a port each. Pure.
 */

export interface SourcePorts {
  readonly first: number;
  readonly last: number;
  readonly size: number;
  /**
   * Where a new probe starts: a number below `size`, drawn, from which no try within `maxTries` leaves from
   * `avoid`, the peer's own port: to an address of this machine such a probe would be its own answer.
   */
  start(avoid: number, maxTries: number): number;
  /** The port of a try of the probe that started at `start`; tries less than `size` apart have different ones. */
  portOf(start: number, attempt: number): number;
}

/** Steps between the ports of one probe's tries: neighbours are left to other probes. */
const STRIDE = 997;

/**
 * @param first, last the range, both included, 1 to 65535; one port alone is `-g`
 * @param random 32 bits that nobody else knows: which ports are drawn follows from them
 */
export function createSourcePorts(first: number, last: number, random: number): SourcePorts {
  if (!(first >= 1 && first <= last && last <= 65_535))
    throw new RangeError(`bad port range ${first}-${last}`);
  const size = last - first + 1;
  let stride = STRIDE % size || 1;
  while (gcd(stride, size) !== 1) stride++;
  let state = random >>> 0;
  const portOf = (start: number, attempt: number): number => first + ((start + attempt * stride) % size);
  /** mulberry32: who does not see the probes cannot tell from one port which is next. */
  const turn = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % size;
  };
  return {
    first,
    last,
    size,
    portOf,
    start: (avoid, maxTries) => {
      let start = turn();
      if (avoid < first || avoid > last || size <= maxTries) return start;
      for (let attempt = 0; attempt < maxTries; attempt++) {
        if (portOf(start, attempt) !== avoid) continue;
        start = turn();
        attempt = -1;
      }
      return start;
    },
  };
}

/** Ports of control probes, and the smallest range that is divided. */
const CONTROL_PORTS = 64;
const FEWEST_PARTED = 256;

/** Divides a run's range: the last ports are for control probes (scan/hosts/control-probes.ts), where there are enough. */
export function partControlPorts({ first, last }: { readonly first: number; readonly last: number }): {
  readonly ports: { readonly first: number; readonly last: number };
  readonly controlPorts?: { readonly first: number; readonly last: number };
} {
  if (last - first + 1 < FEWEST_PARTED) return { ports: { first, last } };
  const middle = last - CONTROL_PORTS;
  return { ports: { first, last: middle }, controlPorts: { first: middle + 1, last } };
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/**
 * Lends each port to one connection at a time, round a shuffled ring: a port that was just returned is lent again last, so that
 * late segments of its old connection meet no new one.
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
        // Swap with the next free port.
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

/** With fewer ports than this above the kernel's range, the run uses the kernel's. */
const MINIMUM_PORTS = 1024;

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

/** The part of the range that each kind of link uses. */
export interface PortShares {
  readonly raw: { readonly first: number; readonly last: number };
  readonly packet: { readonly first: number; readonly last: number };
}

/**
 * Packet links have the upper quarter for themselves: they hide resets to it from the kernel, and thus from other runs' raw
 * sockets. In a range shared with the kernel that is not allowed, so every link uses the whole of it.
 */
export function sharePorts(range: { first: number; last: number; shared: boolean }): PortShares {
  const { first, last, shared } = range;
  if (shared) return { raw: { first, last }, packet: { first, last } };
  const middle = last - Math.floor((last - first + 1) / 4);
  return { raw: { first, last: middle }, packet: { first: middle + 1, last } };
}
