/**
 * The page's section of a run from several places: ports that are not the same from all of them, a column for each place.
 */
import { count } from "../figures.ts";
import type { RecordedPlaceState } from "../read/recorded.ts";

/** Ports that are shown; the table of all results has the others. */
const MOST_SHOWN = 500;

export interface DifferingPort {
  /** Address, name if it has one, and port. */
  readonly label: string;
  readonly from: readonly RecordedPlaceState[];
}

/**
 * @param h escapes text for HTML
 * @returns undefined where no port differs
 */
export function placesSection(
  differing: readonly DifferingPort[],
  h: (text: string, longest?: number) => string,
): string | undefined {
  if (differing.length === 0) return undefined;
  const shown = differing.slice(0, MOST_SHOWN);
  const places = [...new Set(shown.flatMap(({ from }) => from.map(({ place }) => place)))];
  const rows = shown.map(({ label, from }) => {
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
  const more = differing.length - shown.length;
  const note =
    more === 0 ? "" : `<p class="left-out">And ${count(more, "more port")}; the table below has them.</p>`;
  return `<div class="sideways"><table class="plain"><thead><tr><th scope="col">Port</th>${head}</tr></thead><tbody>${rows.join("")}</tbody></table></div>${note}`;
}
