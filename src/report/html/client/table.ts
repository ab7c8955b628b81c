/**
 * The page's script: a table that filters and sorts any number of rows at once. Only the visible rows are in the document; the
 * others are in typed arrays. Text from the network is set as text, never as markup.
 *
 * Runs in a browser: bundled by itself, checked with the DOM's types (tsconfig.json beside it), inlined by page.ts.
 */
import type { Rows } from "../digest.ts";

/** Rows drawn beyond the visible ones, above and below. */
const MARGIN = 8;

/** Numbers to sort by, and the text of a cell. */
interface Column {
  readonly key: (row: number) => number;
  readonly text: (row: number) => string;
}

function element<T extends Element>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`the page lacks #${id}`);
}

function start(): void {
  const rows = JSON.parse(element("data", HTMLScriptElement).textContent ?? "") as Rows;
  const scroller = element("scroller", HTMLDivElement);
  const body = element("rows", HTMLTableSectionElement);
  const input = element("filter", HTMLInputElement);
  const shown = element("shown", HTMLOutputElement);
  const detail = element("detail", HTMLParagraphElement);
  const heads = [...document.querySelectorAll<HTMLTableCellElement>("#scroller th[data-column]")];
  const chips = [...document.querySelectorAll<HTMLButtonElement>("button[data-state]")];
  const total = rows.host.length;

  const rankOf = (texts: readonly string[]): Uint32Array => {
    const order = [...texts.keys()].sort((a, b) => (texts[a] < texts[b] ? -1 : texts[a] > texts[b] ? 1 : 0));
    const rank = new Uint32Array(texts.length);
    order.forEach((text, i) => {
      rank[text] = i;
    });
    return rank;
  };
  const serviceRank = rankOf(rows.services);
  const reasonRank = rankOf(rows.reasons);
  const note = (row: number): string => rows.notes[row] ?? "";
  // Unknown values come last in ascending order.
  const orLast = (value: number): number => (value <= 0 ? Number.MAX_VALUE : value);
  const columns: Readonly<Record<string, Column>> = {
    host: { key: (row) => rows.host[row], text: (row) => rows.hosts[rows.host[row]] },
    port: {
      key: (row) => rows.port[row],
      text: (row) =>
        rows.proto[row] === 0 ? `${rows.port[row]}` : `${rows.port[row]}/${rows.protos[rows.proto[row]]}`,
    },
    state: { key: (row) => rows.state[row], text: (row) => rows.states[rows.state[row]] },
    service: {
      key: (row) => orLast(serviceRank[rows.service[row]]),
      text: (row) => rows.services[rows.service[row]],
    },
    reason: { key: (row) => reasonRank[rows.reason[row]], text: (row) => rows.reasons[rows.reason[row]] },
    rtt: {
      key: (row) => orLast(rows.rtt[row]),
      text: (row) => (rows.rtt[row] > 0 ? (rows.rtt[row] / 1000).toFixed(3) : ""),
    },
    ttl: {
      key: (row) => orLast(rows.ttl[row]),
      text: (row) => (rows.ttl[row] > 0 ? `${rows.ttl[row]}` : ""),
    },
    tries: {
      key: (row) => rows.tries[row],
      text: (row) => (rows.tries[row] > 0 ? `${rows.tries[row]}` : ""),
    },
    doubt: {
      key: (row) => rows.doubt[row],
      text: (row) => (rows.doubt[row] >= 0 ? `${(rows.doubt[row] / 10).toFixed(1)} %` : ""),
    },
    note: { key: (row) => (note(row) === "" ? 1 : 0), text: note },
  };
  const used = heads
    .map((head) => head.getAttribute("data-column") ?? "")
    .filter((name) => Object.hasOwn(columns, name));

  /** All rows in sorted order, and those that pass the filter. */
  const all = Uint32Array.from({ length: total }, (_, row) => row);
  let order = all;
  let sorted = "state";
  let descending = false;
  let selected = -1;
  const hiddenStates = new Set<number>();

  /** The rows that match a word of the filter. Each list of texts is searched once, not once per row. */
  function matcher(word: string): (row: number) => boolean {
    const field = /^(host|port|state|service|reason|note):(.+)$/.exec(word);
    const name = field?.[1];
    const text = field?.[2] ?? word;
    const among = (texts: readonly string[]): Uint8Array =>
      Uint8Array.from(texts, (each) => (each.toLowerCase().includes(text) ? 1 : 0));
    const host = among(rows.hosts);
    const service = among(rows.services);
    const reason = among(rows.reasons);
    const state = Uint8Array.from(rows.states, (each) => (each.startsWith(text) ? 1 : 0));
    const range = /^(\d+)(?:-(\d+))?$/.exec(text);
    const low = range === null ? -1 : Number(range[1]);
    const high = range === null ? -1 : Number(range[2] ?? range[1]);
    const tests: Readonly<Record<string, (row: number) => boolean>> = {
      host: (row) => host[rows.host[row]] === 1,
      port: (row) => rows.port[row] >= low && rows.port[row] <= high,
      state: (row) => state[rows.state[row]] === 1,
      service: (row) => service[rows.service[row]] === 1,
      reason: (row) => reason[rows.reason[row]] === 1,
      note: (row) => note(row).toLowerCase().includes(text),
    };
    if (name !== undefined) return tests[name];
    const any = Object.values(tests);
    return (row) => any.some((test) => test(row));
  }

  function sort(): void {
    const { key } = columns[sorted];
    const keys = Float64Array.from(all.keys(), (row) => key(row));
    const sign = descending ? -1 : 1;
    all.sort(
      (a, b) =>
        sign * (keys[a] - keys[b]) || rows.host[a] - rows.host[b] || rows.port[a] - rows.port[b] || a - b,
    );
    refresh();
  }

  function refresh(): void {
    const tests = input.value.toLowerCase().split(/\s+/).filter(Boolean).map(matcher);
    const found = new Uint32Array(total);
    let length = 0;
    for (const row of all) {
      if (hiddenStates.has(rows.state[row])) continue;
      if (tests.every((test) => test(row))) found[length++] = row;
    }
    order = found.subarray(0, length);
    const rowsOf = total === 1 ? "1 row" : `${total.toLocaleString("en")} rows`;
    shown.value = length === total ? rowsOf : `${length.toLocaleString("en")} of ${rowsOf}`;
    scroller.scrollTop = 0;
    draw();
  }

  function rowElement(row: number, place: number): HTMLTableRowElement {
    const line = document.createElement("tr");
    line.setAttribute("data-row", `${row}`);
    line.setAttribute("aria-rowindex", `${place + 2}`);
    if (row === selected) line.className = "selected";
    for (const name of used) {
      const cell = document.createElement("td");
      const text = columns[name].text(row);
      cell.className = name === "state" ? `state ${text.replace("|", "-")}` : name;
      if (name === "state") {
        const mark = document.createElement("span");
        mark.textContent = text;
        cell.append(mark);
      } else cell.textContent = text === "" ? "–" : text;
      if (text.length > 18) cell.title = text;
      line.append(cell);
    }
    return line;
  }

  function spacer(height: number): HTMLTableRowElement {
    const line = document.createElement("tr");
    line.className = "space";
    line.setAttribute("aria-hidden", "true");
    const cell = document.createElement("td");
    cell.style.height = `${height}px`;
    line.append(cell);
    return line;
  }

  /** Fewer rows have no scroller's height to fill. */
  const FEW = 16;
  const rowHeight = Number.parseFloat(getComputedStyle(scroller).getPropertyValue("--row")) || 30;

  function draw(): void {
    const first = Math.max(0, Math.floor(scroller.scrollTop / rowHeight) - MARGIN);
    const inSight = Math.ceil(scroller.clientHeight / rowHeight) + 2 * MARGIN;
    const last = Math.min(order.length, first + inSight);
    const lines = document.createDocumentFragment();
    if (first > 0) lines.append(spacer(first * rowHeight));
    for (let place = first; place < last; place++) lines.append(rowElement(order[place], place));
    if (last < order.length) lines.append(spacer((order.length - last) * rowHeight));
    body.replaceChildren(lines);
    scroller.classList.toggle("empty", order.length === 0);
  }

  let waiting = false;
  function drawSoon(): void {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }

  for (const head of heads) {
    head.querySelector("button")?.addEventListener("click", () => {
      const name = head.getAttribute("data-column") ?? "host";
      descending = name === sorted && !descending;
      sorted = name;
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sort();
    });
  }
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      const on = chip.getAttribute("aria-pressed") !== "true";
      chip.setAttribute("aria-pressed", `${on}`);
      const { state: word = "" } = chip.dataset;
      const state = rows.states.indexOf(word);
      if (on) hiddenStates.delete(state);
      else hiddenStates.add(state);
      refresh();
    });
  }
  body.addEventListener("click", ({ target }) => {
    const line = target instanceof Element ? target.closest("tr") : null;
    const row = line?.getAttribute("data-row");
    if (row === null || row === undefined) return;
    selected = Number(row);
    detail.textContent = used
      .map((name) => [name, columns[name].text(selected)])
      .filter(([, text]) => text !== "")
      .map(([name, text]) => (name === "rtt" ? `rtt ${text} ms` : name === "note" ? text : `${name} ${text}`))
      .join(" · ");
    draw();
  });
  input.addEventListener("input", refresh);
  scroller.addEventListener("scroll", drawSoon, { passive: true });
  addEventListener("resize", drawSoon);
  if (total < FEW) scroller.style.height = `${(Math.max(total, 2) + 2) * rowHeight}px`;
  for (const part of document.querySelectorAll("[data-live]")) part.removeAttribute("hidden");
  refresh();
}

start();
