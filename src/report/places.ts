/**
 * What several places have found of one port, in words. How they are asked: runtime/fleet/places.ts.
 */

interface PlaceState {
  readonly place: string;
  readonly state: string;
}

/** Whether the port is not the same from all of them. */
export const isDifferent = (from: readonly PlaceState[] = []): boolean =>
  from.some(({ state }) => state !== from[0].state);

/** `open from fra, lon`, or `open from fra, filtered from lon`. */
export function byPlace(from: readonly PlaceState[]): string {
  const places = new Map<string, string[]>();
  for (const { place, state } of from) places.set(state, [...(places.get(state) ?? []), place]);
  return Array.from(places, ([state, names]) => `${state} from ${names.join(" and ")}`).join(", ");
}
