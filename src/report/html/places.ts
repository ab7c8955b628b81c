/**
 * The page's section of a run from several places: ports that are not the same from all of them, a column for each place.
 */
import { count } from "../figures.ts";
import type { RecordedPlaceState } from "../read/recorded.ts";

export interface DifferingPort {
  /** Address, name if it has one, and port. */
  readonly label: string;
  readonly from: readonly RecordedPlaceState[];
}

/**
 * @param more how many there are beside them
 * @param h escapes text for HTML
 * @returns undefined where no port differs
 */
export function placesSection(
  differing: readonly DifferingPort[],
  more: number,
  h: (text: string, longest?: number) => string,
): string | undefined {
  if (differing.length === 0) return undefined;
  const places = [...new Set(differing.flatMap(({ from }) => from.map(({ place }) => place)))];
  const rows = differing.map(({ label, from }) => {
    const cells = places.map((name) => {
      const found = from.find(({ place }) => place === name);
      if (found === undefined) return '<td class="none"></td>';
      const { state, reason } = found;
      const why = reason === undefined || state !== "filtered" ? "" : `<small> ${h(reason, 60)}</small>`;
      return `<td class="${state.replace("|", "-")}">${state}${why}</td>`;
    });
    return `<tr><th scope="row">${h(label)}</th>${cells.join("")}</tr>`;
  });
  const head = places.map((place) => `<th scope="col">from ${h(place, 60)}</th>`).join("");
  const note =
    more === 0 ? "" : `<p class="left-out">And ${count(more, "more port")}; the table below has them.</p>`;
  return `<div class="sideways"><table class="plain"><thead><tr><th scope="col">Port</th>${head}</tr></thead><tbody>${rows.join("")}</tbody></table></div>${note}`;
}
