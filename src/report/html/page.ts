/**
 * The page: one HTML document that loads nothing, with markup, charts, style, script and rows. Text from the network is escaped
 * twice, first unseen characters and then HTML's own, and a content security policy allows no script but the page's.
 *
 * Not here: what is shown (digest.ts), the charts (charts.ts), the table's script (client/table.ts).
 */
import { createHash } from "node:crypto";
import { escapeText, escapeUnits } from "../escape.ts";
import { count, digits, duration, percent, rounded } from "../figures.ts";
import type { RecordedRun, RecordedSummary } from "../read/recorded.ts";
import { barChart, heldRates, LINES, lossChart, rateChart, roundTripChart } from "./charts.ts";
import { type Digest, MATRIX, type Matrix, type Rows } from "./digest.ts";
import { historySections } from "./history.ts";
import { isLeftOut, leftOutRemarks } from "./left-out.ts";
import { placesSection } from "./places.ts";
import type { Tops } from "./statistics.ts";
import { tiles } from "./tiles.ts";
import { waysSection } from "./ways.ts";

export interface PageOptions {
  readonly title: string;
  readonly version: string;
  /** The time of making, in milliseconds since the Unix epoch. */
  readonly madeMs: number;
  /** The table's script and the page's style, from the build. */
  readonly script: string;
  readonly style: string;
}

/** Hosts whose open ports appear on paper; page.css has the same number. */
const ON_PAPER = 100;
/** Ports that the matrix has room for on a phone. */
const ON_PHONE = 5;
/** Longest text shown, in characters; banners are longer in the table. */
const LONGEST = 120;

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Escapes text from outside for HTML text and attributes. */
function h(text: string, longest = LONGEST): string {
  return escapeText(text, longest).replace(/[&<>"']/g, (char) => ENTITIES[char]);
}

/** JSON on one line that cannot end a script element, whatever its texts are. */
function scriptJson(value: unknown): string {
  return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, escapeUnits);
}

const hash = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const utc = (ms: number): string => `${new Date(ms).toISOString().slice(0, 16).replace("T", " ")} UTC`;

/** What each reason for `filtered` means. */
const REASONS: Readonly<Record<string, string>> = {
  "no-response": "nothing came back: dropped by a firewall, or no such host",
  "unproved-reset":
    "only resets came back that prove nothing: a middlebox's, a broken host's, or forged ones",
  "unproved-syn":
    "only SYNs came back, and their sender did not go on with the handshake: perhaps forged ones",
  "admin-prohibited": "a firewall or router says it is forbidden",
  "host-prohibited": "a router says the host is forbidden",
  "net-prohibited": "a router says the network is forbidden",
  "host-unreach": "a router, or this machine, cannot reach the host",
  "net-unreach": "a router has no way to the network",
  "port-unreach": "a firewall refuses it by ICMP",
  "proto-unreach": "the host says it does not speak TCP",
  "time-exceeded": "a routing loop, or too small a TTL",
  "no-route": "a router has no route",
  "addr-unreach": "a router, or this machine, cannot reach the address",
  "beyond-scope": "the address is out of the source's scope",
  "policy-fail": "a router's policy forbids the source address",
  "reject-route": "a router rejects this destination",
  "param-problem": "a router could not read the packet",
  "host-timeout": "given up: the host took longer than --host-timeout",
};

function meaning(reason: string): string {
  if (Object.hasOwn(REASONS, reason)) return REASONS[reason];
  return reason.startsWith("send-") ? "the scanning machine refused to send" : "";
}

interface Remark {
  readonly kind: "ok" | "info" | "warn";
  /** HTML. */
  readonly text: string;
}

/** What a run reports about its own certainty. */
function runRemarks({ ending, format, summary, brokenLine }: RecordedRun): Remark[] {
  const remarks: Remark[] = [];
  const add = (kind: Remark["kind"], text: string): void => void remarks.push({ kind, text });
  if (format === "store") add("info", "Of each port it is what was seen last, however long before.");
  else if (ending === "complete") add("ok", "The run is complete: it ended by itself.");
  if (ending === "unknown")
    add(
      "warn",
      "Only open ports are listed: of others it is not known whether they were probed, nor what they were.",
    );
  if (ending === "interrupted") {
    const { unfinished = 0, sent } = summary ?? {};
    const left =
      unfinished === 0
        ? ""
        : `: ${count(unfinished, "planned port")} ${unfinished === 1 ? "has" : "have"} no verdict`;
    const begun = sent === undefined ? "" : ` ${count(sent, "SYN")} had been sent.`;
    add("warn", `The run was interrupted${left}.${begun} What it did not come to is not on this page.`);
  }
  if (ending === "cut-off")
    add(
      "warn",
      `The file has no end${brokenLine === undefined ? "" : ` (it breaks off in line ${digits(brokenLine)})`}: the run crashed, or still went on. There may be more ports than these.`,
    );
  if (summary === undefined) return remarks;
  const { receiveDrops = 0, late = 0, sendErrors = {}, silence = [] } = summary;
  // Nothing is known of a path on which nothing answered.
  const path = isAnswered(summary) ? summary.path : undefined;
  if (!isAnswered(summary))
    add(
      "warn",
      "Nothing answered, so the loss of the path is unknown, and how many open ports were missed: silence proves nothing here.",
    );
  for (const cause of silence) add("warn", h(cause, 400));
  const { round, out, back } = path?.loss ?? {};
  if (round !== undefined) {
    const ways =
      out === undefined || back === undefined
        ? ""
        : ` (about ${percent(out)} on the way out, ${percent(back)} on the way back)`;
    add(
      round > 0.02 ? "warn" : "info",
      `The path lost ${percent(round)} of the probes or of their answers${ways}; what stayed silent was asked again.`,
    );
  }
  if (path?.rate !== undefined)
    add("info", `The path was found to hold about ${digits(Math.round(path.rate))} SYNs a second.`);
  if (path?.verified !== undefined) {
    const { asked, open, closed } = path.verified;
    add(
      "info",
      `${count(asked, "silent port")} asked once more at the end: ${open + closed === 0 ? "none answered" : `${digits(open)} open and ${digits(closed)} closed are listed so`}.`,
    );
  }
  if (path?.missedOpen !== undefined) {
    const { expected, low, high } = path.missedOpen;
    const isUnseen = path.unseen !== undefined && expected < 0.05 && summary.bursts === undefined;
    const few = (value: number): string =>
      value < 10 ? String(Number(value.toFixed(1))) : digits(Math.round(value));
    const about = expected < 0.05 ? "Fewer than 0.1" : `About ${few(expected)}`;
    add(
      isUnseen ? "info" : high >= 1 ? "warn" : "ok",
      expected < 0.05 && high < 1
        ? "Hardly any open port can have been missed through loss: fewer than one is to be expected, with 95 % confidence."
        : `${about} open ${few(expected) === "1" ? "port" : "ports"} may be called filtered here because every probe, or every answer, was lost; with 95 % confidence between ${few(low)} and ${few(high)}${isUnseen ? ", as bursts of loss that outlast the run would not have shown" : ""}.`,
    );
  }
  if (late > 0) add("info", `${count(late, "answer")} came after the timeout, and counted.`);
  if (receiveDrops > 0)
    add(
      "warn",
      `${count(receiveDrops, "packet")} ${receiveDrops === 1 ? "was" : "were"} dropped by the scanning machine itself, its receive buffer being full: answers may be missing.`,
    );
  const refused = Object.entries(sendErrors).filter(([, times]) => times > 0);
  if (refused.length > 0)
    add(
      "warn",
      `The scanning machine refused to send: ${refused.map(([name, times]) => `${h(name)} ${count(times, "time")}`).join(", ")}.`,
    );
  return remarks;
}

/** Whether any port was found open or closed; where a file does not say, it is taken for granted. */
const isAnswered = ({ reasons }: RecordedSummary): boolean =>
  reasons === undefined ||
  ["open", "closed"].some((state) => Object.values(reasons[state] ?? {}).some((ports) => ports > 0));

function sureness(digest: Digest): string {
  const { runs, answerAll, faults, moreFaults, silent } = digest;
  const remarks = runs.flatMap((run) =>
    [...runRemarks(run), ...leftOutRemarks(run)].map(({ kind, text }) => ({
      kind,
      text: runs.length > 1 ? `<b>${h(run.name)}</b>: ${text}` : text,
    })),
  );
  if (silent > 0 && runs.every(({ summary }) => summary?.path === undefined)) {
    const ports = `${count(silent, "port")} ${silent === 1 ? "is" : "are"}`;
    remarks.push({
      kind: "info",
      text: `${ports} called filtered because nothing came back, however often it was asked. How much the path loses is not recorded, so some of that silence may be loss.`,
    });
  }
  if (answerAll.length > 0) {
    const names = answerAll
      .slice(0, 10)
      .map((name) => h(name))
      .join(", ");
    const more = answerAll.length > 10 ? `, and ${digits(answerAll.length - 10)} more` : "";
    remarks.push({
      kind: "warn",
      text: `${count(answerAll.length, "host")} answered on every port that was looked at, as tarpits and middleboxes do; those open ports are probably no services, and stand only in the counts and in the table of all results: ${names}${more}.`,
    });
  }
  for (const { target, message } of faults)
    remarks.push({
      kind: "warn",
      text: `Not probed: ${h(target)} (${h(message.replace(`${target}: `, ""), 200)})`,
    });
  if (moreFaults > 0)
    remarks.push({ kind: "warn", text: `${count(moreFaults, "more target")} could not be probed.` });
  return `<ul class="remarks">${remarks.map(({ kind, text }) => `<li class="${kind}">${text}</li>`).join("")}</ul>`;
}

function runTable(runs: readonly RecordedRun[]): string {
  const cell = (value: number | undefined): string =>
    `<td class="number">${value === undefined ? "–" : digits(value)}</td>`;
  const rows = runs.map(({ name, command, startedMs, ending, summary = undefined }) => {
    const elapsed = summary?.elapsedMs;
    return `<tr><th scope="row">${h(name)}${command === undefined ? "" : `<small>${h(command, 200)}</small>`}</th><td>${startedMs === undefined ? "–" : utc(startedMs)}</td><td class="number">${elapsed === undefined ? "–" : duration(elapsed)}</td>${cell(summary?.sent)}${cell(summary?.retransmitted)}${cell(summary?.received)}<td>${ending}</td></tr>`;
  });
  return `<div class="sideways"><table class="plain"><thead><tr><th scope="col">File</th><th scope="col">Started</th><th scope="col" class="number">Time</th><th scope="col" class="number">SYNs</th><th scope="col" class="number">sent again</th><th scope="col" class="number">received</th><th scope="col">Ending</th></tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

const LETTERS: readonly (readonly [letter: string, kind: string, word: string])[] = [
  ["O", "open", "open"],
  ["C", "closed", "closed"],
  ["F", "filtered", "filtered"],
  ["U", "closed", "unfiltered"],
  ["?", "filtered", "open or filtered"],
  ["?", "closed", "closed or filtered"],
];

function matrixTable(matrix: Matrix): string {
  if (matrix.hosts.length === 0) return "";
  const head = matrix.ports
    .map(({ port, proto, service }) => {
      const label = `${port}${proto === "tcp" ? "" : `/${proto}`}`;
      return `<th scope="col" title="${h(service === "" ? label : `${label} ${service}`)}"><span>${label}</span></th>`;
    })
    .join("");
  const body = matrix.hosts
    .map(({ ip, name }, y) => {
      const cells = matrix.cells[y].map((code) => {
        if (code < 0) return '<td class="none"></td>';
        const [letter, kind, word] = LETTERS[code];
        return `<td class="${kind}" title="${word}">${letter}</td>`;
      });
      return `<tr><th scope="row">${h(ip)}${name === "" ? "" : `<small>${h(name)}</small>`}</th>${cells.join("")}</tr>`;
    })
    .join("");
  const slide =
    matrix.ports.length > ON_PHONE
      ? `<p class="left-out phone">Slide it sideways to see all ${matrix.ports.length} ports.</p>`
      : "";
  const left = [
    ...(matrix.moreHosts > 0
      ? [`${count(matrix.moreHosts, "more host")} (shown are the ${MATRIX.hosts} with the most open ports)`]
      : []),
    ...(matrix.morePorts > 0
      ? [`${count(matrix.morePorts, "more port")} (shown are the ${MATRIX.ports} that are open most often)`]
      : []),
  ];
  const note =
    left.length === 0
      ? ""
      : `<p class="left-out">Not in this picture: ${left.join(", ")}. The table below has them.</p>`;
  return `<p class="legend"><i class="open">O</i> open <i class="closed">C</i> closed <i class="filtered">F</i> filtered <i class="none"></i> not probed</p>${slide}<div class="sideways"><table class="matrix"><thead><tr><td></td>${head}</tr></thead><tbody>${body}</tbody></table></div>${note}`;
}

function topsFigure(tops: Tops, what: string, colour: string): string {
  if (tops.bars.length === 0) return "";
  const more =
    tops.more === 0 ? "" : `<p class="left-out">And ${digits(tops.more)} more, with fewer ports each.</p>`;
  const bars = tops.bars.map((bar) => ({ ...bar, label: escapeText(bar.label, 60) }));
  return barChart(what, bars, colour) + more;
}

function reasonsSection(digest: Digest): string {
  const rows = digest.reasons.bars.map(
    ({ label, ports, hosts }) =>
      `<tr><th scope="row">${h(label, 60)}</th><td class="number">${digits(ports)}</td><td class="number">${digits(hosts)}</td><td>${h(meaning(label))}</td></tr>`,
  );
  if (rows.length === 0) return "";
  return `${topsFigure(digest.reasons, "Filtered ports by reason", "var(--filtered)")}<div class="sideways"><table class="plain"><thead><tr><th scope="col">Reason</th><th scope="col" class="number">Ports</th><th scope="col" class="number">Hosts</th><th scope="col">In words</th></tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

function tripsSection({ roundTrips }: Digest): string {
  if (roundTrips === undefined) return "";
  const { median, p95, max, count: answers } = roundTrips;
  const ms = (value: number): string => `${Number(value.toPrecision(3))} ms`;
  return `<p class="legend"><i class="open"></i> open <i class="closed"></i> closed <i class="filtered"></i> filtered, by ICMP</p>${roundTripChart("Answers by round trip", roundTrips)}<p class="left-out">${count(answers, "answer")}: median ${ms(median)}, 95 % within ${ms(p95)}, longest ${ms(max)}.</p>`;
}

function timeSection({ series, moreSeries }: Digest): string {
  if (series.length === 0) return "";
  const { drawn, above } = heldRates(series);
  const hasRate = drawn.some(({ points }) => points.some(({ rate = Number.NaN }) => rate >= 0));
  const keys = (["sent", "received", "rate"] as const).filter((key) => key !== "rate" || hasRate);
  const legend = keys.map((key) => `<i class="line ${key}"></i> ${LINES[key].name}`).join(" ");
  const dashes = ["solid", "dashed", "dotted", "widely dotted"];
  const names =
    series.length < 2
      ? ""
      : `<p class="left-out">${series.map(({ name }, i) => `${dashes[i]}: ${h(name)}`).join("; ")}${moreSeries > 0 ? `; ${count(moreSeries, "more run")} not drawn` : ""}.</p>`;
  const held =
    above === undefined
      ? ""
      : `<p class="left-out">The path was found to hold up to ${rounded(above)} a second, far above what is drawn.</p>`;
  const loss = lossChart("Loss of round trips over time, in percent", series);
  return `<p class="legend">${legend}, per second</p>${rateChart("Packets per second over time", drawn)}${held}${names}${loss === "" ? "" : `<p class="legend"><i class="line filtered"></i> round trips lost, as the run thought at that time</p>${loss}`}`;
}

function openList({ openByHost, moreOpenHosts }: Digest): string {
  if (openByHost.length === 0) return `<p class="left-out">No port is open.</p>`;
  const rows = openByHost.map(
    ({ host, ports }) => `<tr><th scope="row">${h(host)}</th><td>${h(ports, 2000)}</td></tr>`,
  );
  const paper =
    openByHost.length <= ON_PAPER
      ? ""
      : `<p class="left-out paper">On paper, the first ${ON_PAPER} of ${count(openByHost.length + moreOpenHosts, "host")}; the page has more.</p>`;
  const more =
    moreOpenHosts === 0
      ? ""
      : `<p class="left-out">And ${count(moreOpenHosts, "more host")} with open ports; the table has them.</p>`;
  return `<div class="list"><table class="plain"><tbody>${rows.join("")}</tbody></table></div>${paper}${more}`;
}

const COLUMNS = [
  ["host", "Host"],
  ["port", "Port"],
  ["state", "State"],
  ["service", "Service"],
  ["reason", "Reason"],
  ["rtt", "RTT ms"],
  ["ttl", "TTL"],
  ["tries", "Tries"],
  ["doubt", "Doubt"],
  ["note", "Notes"],
] as const;

function liveTable({ rows, moreRows, states }: Digest): string {
  const used = COLUMNS.filter(([name]) => {
    if (name === "doubt") return states.open + states.closed > 0 && rows.doubt.some((value) => value >= 0);
    if (name === "note") return Object.keys(rows.notes).length > 0;
    if (name === "rtt") return rows.rtt.some((value) => value >= 0);
    if (name === "tries") return rows.tries.some((value) => value > 0);
    return true;
  });
  const head = used
    .map(
      ([name, label]) =>
        `<th scope="col" data-column="${name}" class="${name}"${name === "state" ? ' aria-sort="ascending"' : ""}><button type="button"${name === "doubt" ? ' title="the chance that the port did answer, and the answer or every probe was lost"' : ""}>${label}</button></th>`,
    )
    .join("");
  const chips = rows.states
    .filter((state) => Object.hasOwn(states, state) && states[state as keyof typeof states] > 0)
    .map(
      (state) =>
        `<button type="button" data-state="${state}" aria-pressed="true" class="chip ${state.replace("|", "-")}">${state}</button>`,
    )
    .join("");
  const more =
    moreRows === 0
      ? ""
      : `<p class="left-out">${count(moreRows, "more port")} ${moreRows === 1 ? "is" : "are"} counted above and not in this table, so that the page stays usable; open ports come first.</p>`;
  return `<div data-live hidden><div class="controls"><input id="filter" type="search" placeholder="Filter: 198.18.0. open ssh port:22-25 reason:reset" aria-label="Filter: words that must all match; host: port: state: service: reason: note: look in one column" spellcheck="false" autocomplete="off"><span class="chips">${chips}</span><output id="shown" for="filter"></output></div><div id="scroller" tabindex="0" role="region" aria-label="All results"><table aria-rowcount="${rows.host.length + 1}"><thead><tr>${head}</tr></thead><tbody id="rows"></tbody></table></div><p id="detail" aria-live="polite">Click a row for all that is known of it.</p>${more}</div><p class="without left-out">The table of all results needs a browser with scripts; the lists above need none.</p>`;
}

/** Spells out what a browser would obey: bidi overrides, controls. */
function safeRows(rows: Rows): Rows {
  const safe = (text: string): string => escapeText(text, 1500);
  return {
    ...rows,
    hosts: rows.hosts.map(safe),
    services: rows.services.map(safe),
    reasons: rows.reasons.map(safe),
    notes: Object.fromEntries(Object.entries(rows.notes).map(([row, note]) => [row, safe(note)])),
  };
}

/** The whole page. */
export function renderPage(digest: Digest, options: PageOptions): string {
  const { script, style, version, madeMs } = options;
  const title = h(options.title);
  const started = digest.runs.flatMap(({ startedMs }) => startedMs ?? []);
  const verb = digest.runs.every(({ format }) => format === "store") ? "As known at" : "Scanned";
  const when = started.length === 0 ? "" : `${verb} ${utc(Math.min(...started))}. `;
  const policy = `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; img-src data:; base-uri 'none'; form-action 'none'`;
  const ways = waysSection(digest.runs, h);
  const places = placesSection(digest.differing, digest.moreDiffering, h);
  // Of one port the table says it all.
  const isOne = digest.ports === 1;
  // What there is nothing in is left out.
  const section = (name: string, heading: string, content = "", kind = ""): string =>
    content === "" ? "" : `<section id="${name}" class="${kind}"><h2>${heading}</h2>${content}</section>`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${style}</style>
</head>
<body>
<header><h1>${title}</h1><p>${when}${count(digest.ports, "port")} on ${count(digest.hosts, "host")}${isLeftOut(digest.runs) ? " in the file" : ""}.</p></header>
<main>
<div class="tiles">${tiles(digest)}</div>
${section("open", "Open ports by host", openList(digest))}
${section("sure", "How sure this is", sureness(digest))}
${historySections(digest.runs, h)
  .map(({ name, heading, content }) => section(name, heading, content, "whole"))
  .join("\n")}
${section("matrix", "Ports by host", isOne ? "" : matrixTable(digest.matrix), "whole")}
${section("ways", "Where filtered ports stop", ways, "whole")}${section("places", "What differs between places", places, "whole")}
<div class="pair">
${section("services", "Open ports by service", isOne ? "" : topsFigure(digest.services, "Open ports by service", "var(--open)"))}
${section("reasons", "Why ports are filtered", reasonsSection(digest))}
${section("trips", "Round trips", isOne ? "" : tripsSection(digest))}
${section("time", "Rate and loss over time", timeSection(digest))}
</div>
${section("results", "All results", liveTable(digest))}
${section("runs", digest.runs.length === 1 ? "The run" : "The runs", runTable(digest.runs))}
</main>
<footer>Made by synprobe ${h(version)}, ${utc(madeMs)}. This page loads nothing and sends nothing.</footer>
<script type="application/json" id="data">${scriptJson(safeRows(digest.rows))}</script>
<script>${script}</script>
</body>
</html>
`;
}
