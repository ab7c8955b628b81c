/** The page's section of what differs between places: a column for each, escaped, and bounded. */
import { expect, test } from "vitest";
import { type DifferingPort, placesSection } from "../../../src/report/html/places.ts";

const escaped = (text: string): string => text.replace(/[&<>"']/g, "#");
const differing = (
  label: string,
  ...states: readonly DifferingPort["from"][number]["state"][]
): DifferingPort => ({
  label,
  from: states.map((state, i) => ({
    place: ["fra", "<lon>", "nyc"][i],
    state,
    reason: "<why>",
  })),
});

test("a port has a cell for each place, empty where one has not told", () => {
  const html =
    placesSection(
      [differing("a 22/tcp", "open", "filtered", "open"), differing("<b> 80/tcp", "closed", "open|filtered")],
      0,
      escaped,
    ) ?? "";
  expect(html).toContain(
    '<th scope="col">from fra</th><th scope="col">from #lon#</th><th scope="col">from nyc</th>',
  );
  expect(html).toContain(
    '<th scope="row">a 22/tcp</th><td class="open">open</td><td class="filtered">filtered<small> #why#</small></td><td class="open">open</td>',
  );
  expect(html).toContain(
    '<th scope="row">#b# 80/tcp</th><td class="closed">closed</td><td class="open-filtered">open|filtered</td><td class="none"></td>',
  );
});

test("many ports are counted, and none has no section", () => {
  const html = placesSection([differing("host 1/tcp", "open", "closed")], 2, escaped) ?? "";
  expect(html).toContain("And 2 more ports");
  expect(placesSection([], 0, escaped)).toBeUndefined();
});
