/**
 * The page's totals: a tile for each. A state that a file has not is counted by the run's summary (left-out.ts).
 * Tested by test/report/html/left-out.test.ts.
 */
import { digits, duration } from "../figures.ts";
import type { Digest } from "./digest.ts";
import { isLeftOut, withLeftOut } from "./left-out.ts";

function tile(value: string, label: string, kind = ""): string {
  return `<div class="tile ${kind}"><b>${value}</b><span>${label}</span></div>`;
}

const counted = (value: string, one: string, rest: string, kind = ""): string =>
  tile(value, `${one}${value === "1" ? "" : "s"} ${rest}`.trim(), kind);

/** HTML; none of it is text from outside. */
export function tiles({ runs, states, hosts, openHosts, ports }: Digest): string {
  const sum = (key: "sent" | "elapsedMs"): number | undefined => {
    const known = runs.flatMap(({ summary }) => summary?.[key] ?? []);
    return known.length === 0 ? undefined : known.reduce((a, b) => a + b, 0);
  };
  const elapsed = sum("elapsedMs");
  const sent = sum("sent");
  const other = states.unfiltered + states["open|filtered"] + states["closed|filtered"];
  return [
    counted(withLeftOut(runs, states.open, "open"), "open port", "", "open"),
    tile(withLeftOut(runs, states.closed, "closed"), "closed", "closed"),
    tile(withLeftOut(runs, states.filtered, "filtered"), "filtered", "filtered"),
    ...(other > 0 ? [tile(digits(other), "undecided")] : []),
    tile(
      digits(openHosts) + (isLeftOut(runs) ? "" : `<small> of ${digits(hosts)}</small>`),
      openHosts === 1 ? "host with open ports" : "hosts with open ports",
    ),
    counted(withLeftOut(runs, ports), "port", "looked at"),
    ...(sent === undefined ? [] : [counted(digits(sent), "SYN", "sent")]),
    ...(elapsed === undefined ? [] : [tile(duration(elapsed), "scanning time")]),
  ].join("");
}
