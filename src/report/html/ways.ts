/**
 * The picture of ways: what `--why` has found, hops by ports for each host, and a sentence for each port. Only runs in NDJSON that
 * were asked why have it.
 */
import { count } from "../figures.ts";
import type { RecordedPlace, RecordedRun } from "../read/recorded.ts";

/** Ways drawn, and ports of each. */
const MOST_WAYS = 64;
const MOST_PORTS = 64;

type Cell = readonly [letter: string, kind: string, word: string];
const PASSES: Cell = ["·", "open", "passes"];
const STOPPED: Cell = ["F", "filtered", "is not seen from here on"];
const BOXED: Cell = ["B", "closed", "is answered by a box in the host's name"];
const ENDS: Cell = ["E", "closed", "is answered by the host"];

/** What became of a port's SYNs at a hop; undefined where nothing is known. */
function cellOf({ kind, from = 0, to }: RecordedPlace, hop: number): Cell | undefined {
  if (kind === "host") return hop < (to ?? 0) ? PASSES : hop === to ? ENDS : undefined;
  if (hop <= from && !(kind === "rejected" && hop === to)) return PASSES;
  if (kind === "box") return hop === to ? BOXED : undefined;
  return hop === (kind === "rejected" ? to : from + 1) ? STOPPED : undefined;
}

/**
 * @param h escapes text for HTML
 * @returns undefined when no run has ways
 */
export function waysSection(
  runs: readonly RecordedRun[],
  h: (text: string, longest?: number) => string,
): string | undefined {
  const ways = runs.flatMap(({ summary }) => summary?.ways ?? []);
  const places = runs.flatMap(({ summary }) => summary?.where ?? []);
  if (places.length === 0) return undefined;
  const hosts = [...new Set(places.map(({ ip }) => ip))];
  const figures = hosts.slice(0, MOST_WAYS).map((ip) => {
    const mine = places.filter((place) => place.ip === ip).slice(0, MOST_PORTS);
    const hops = ways.find((way) => way.ip === ip)?.hops ?? [];
    const last = Math.max(hops.length, ...mine.map(({ from = 0, to = 0 }) => Math.max(from + 1, to)));
    const numbers = Array.from({ length: last }, (_, i) => i + 1);
    const head = numbers
      .map((hop) => `<th scope="col" title="${h(hops[hop - 1] ?? "silent")}"><span>${hop}</span></th>`)
      .join("");
    const rows = mine.map((place) => {
      const cells = numbers.map((hop) => {
        const cell = cellOf(place, hop);
        return cell === undefined
          ? '<td class="none"></td>'
          : `<td class="${cell[1]}" title="${place.port} ${cell[2]}">${cell[0]}</td>`;
      });
      return `<tr><th scope="row">${place.port}</th>${cells.join("")}</tr>`;
    });
    const routers = hops.map((hop, i) => `${i + 1} ${hop === null ? "*" : h(hop)}`).join(", ");
    const sentences = mine.map(({ text }) => `<li>${h(text, 1000)}</li>`).join("");
    return `<h3>${h(ip)}</h3><div class="sideways"><table class="matrix"><thead><tr><td></td>${head}</tr></thead><tbody>${rows.join("")}</tbody></table></div>${routers === "" ? "" : `<p class="left-out">Hops: ${routers}</p>`}<ul>${sentences}</ul>`;
  });
  const more = hosts.length - figures.length;
  return `<p class="legend"><i class="open">·</i> passes <i class="filtered">F</i> not seen from here on <i class="closed">B</i> answered by a box, or <i class="closed">E</i> by the host</p>${figures.join("")}${more > 0 ? `<p class="left-out">And ${count(more, "more host")}.</p>` : ""}`;
}
