/**
 * The page of a report: the command that makes it, and the page in a real browser: it renders, filters and sorts without an
 * error, obeys nothing that came from the network, loads nothing, and keeps few rows in the document however many it has.
 */
/// <reference lib="dom" />
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  linkSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openStore } from "../../../src/runtime/store/database.ts";
import { createRecorder } from "../../../src/runtime/store/record.ts";
import { linesOf, run, synprobe } from "../../cli/process.ts";
import { everyday } from "../../everyday.ts";
import { skipping } from "../../lab/netns.ts";
import { hostileNames } from "../samples.ts";

/** Debian's name first. */
const CHROMIUM = ["chromium", "chromium-browser", "google-chrome"]
  .map((name) => spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim())
  .find((path) => path !== "");
const problem = CHROMIUM === undefined ? "chromium is not installed" : undefined;

const record = (part: object): string =>
  JSON.stringify({
    ip: "192.0.2.1",
    port: 80,
    proto: "tcp",
    state: "open",
    reason: "syn-ack",
    tries: 1,
    ...part,
  });
const SUMMARY = {
  type: "summary",
  interrupted: false,
  elapsed_ms: 3000,
  started_at: "2026-11-20T23:09:54.250Z",
};
const MARKUP = [
  "<script>window.hacked = 1</script>",
  "</script><script>window.hacked = 2</script>",
  "<!--<script>",
  "<img src=x onerror='window.hacked = 3'>",
  '"><svg onload="window.hacked = 4">',
  "</title><script>window.hacked = 5</script>",
  "]]></style><script>window.hacked = 6</script>",
  "&lt;b&gt;",
  ...hostileNames,
];
/** 50 ports on each of the hosts, and in words. */
const HOSTS = everyday(400, 2000);
const MANY = 50 * HOSTS;
const [ROWS, LAST] = [MANY.toLocaleString("en"), `198.18.${(HOSTS - 1) >> 8}.${(HOSTS - 1) & 255}`];
const STATES = ["open", "closed", "filtered"];

function manyLines(): string[] {
  return Array.from({ length: MANY }, (_, i) => {
    const host = Math.floor(i / 50);
    return record({
      ...{
        ip: `198.18.${host >> 8}.${host & 255}`,
        port: 20 + (i % 50),
        state: STATES[i % 3],
        rtt_ms: 1 + (i % 977) / 100,
      },
      ...(i % 50 === 2 ? { service: "ssh" } : {}),
    });
  });
}

let folder = "";
async function makePage(name: string, lines: readonly string[], ...args: string[]): Promise<string> {
  const file = join(folder, `${name}.json`);
  const page = join(folder, `${name}.html`);
  writeFileSync(file, `${lines.join("\n")}\n`);
  const { status, stderr } = await run(synprobe("report", file, "-o", page, ...args));
  expect({ status, lines: linesOf(stderr) }).toEqual({
    status: 0,
    lines: [expect.stringMatching(/, opens in any browser and loads nothing$/)],
  });
  return page;
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-report-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("the command", () => {
  it.each([
    [["-o", "page.html"], /^synprobe: missing required argument 'files'/],
    [["none.json"], /^synprobe: required option '-o, --output <file>' not specified/],
    [
      ["none.json", "-o", "none.html"],
      /^synprobe: cannot read the results none\.json: there is no such file$/,
    ],
    [
      ["package.json", "-o", "./package.json"],
      /^synprobe: the page cannot go to \.\/package\.json: it is one of/,
    ],
    // No file of its own: what is written to it may fail later than its opening.
    [
      ["test/golden/nmap-7.93.xml", "-o", "/dev/full"],
      /^synprobe: cannot write output file \/dev\/full: the disk is full$/,
    ],
    [
      ["test/golden/nmap-7.93.xml", "-o", "/nonexistent/page.html"],
      /^synprobe: cannot write output file .*: its directory does not exist$/,
    ],
  ])("%j is a mistake: 2, in one line", async (args, message) => {
    const { status, stdout, stderr } = await run(synprobe("report", ...args));
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(linesOf(stderr)).toEqual([expect.stringMatching(message)]);
  });

  it("of several files tells every one that cannot be read, and makes no page without them", async () => {
    const page = join(folder, "some.html");
    const { status, stderr } = await run(
      synprobe("report", "none.json", "test/golden/nmap-7.93.xml", "package.json", "-o", page),
    );
    expect({ status, isMade: existsSync(page) }).toEqual({ status: 2, isMade: false });
    expect(linesOf(stderr)).toEqual([
      "synprobe: cannot read the results none.json: there is no such file",
      expect.stringMatching(/^synprobe: package\.json:1: no JSON object/),
      "synprobe: no page is made: 2 of 3 files could not be read",
    ]);
  });

  it("leaves the older page whole until the new one is: where the disk is full, and for who is reading it", async () => {
    const own = mkdtempSync(join(folder, "own-"));
    const page = join(own, "page.html");
    writeFileSync(page, "older", { mode: 0o640 });
    const uid = process.geteuid?.() ?? 0;
    const gid = uid === 0 ? 4242 : statSync(page).gid;
    chownSync(page, uid, gid);
    const make = synprobe("report", "test/golden/nmap-7.93.xml", "-o", page);
    const full = await run(["prlimit", "--fsize=20000", ...make]);
    expect({ status: full.status, stderr: full.stderr }).toEqual({
      status: 2,
      stderr: expect.stringMatching(/^synprobe: cannot write output file .*page\.html: /),
    });
    expect([readdirSync(own), readFileSync(page, "utf8")]).toEqual([["page.html"], "older"]);
    const reader = openSync(page, "r");
    expect((await run(make)).status).toBe(0);
    expect([readFileSync(reader, "utf8"), readdirSync(own)]).toEqual(["older", ["page.html"]]);
    closeSync(reader);
    // Whom it is for may still read it.
    expect(statSync(page)).toMatchObject({ mode: 0o100640, gid });
    expect(readFileSync(page, "utf8")).toMatch(/<\/html>\n$/);
    // What nobody may write is not replaced.
    chownSync(page, uid, process.getegid?.() ?? gid);
    chmodSync(page, 0o440);
    const meek = uid === 0 ? ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] : [];
    const refused = await run([...meek, ...make]);
    expect([refused.status, statSync(page).mode & 0o777]).toEqual([2, 0o440]);
    chmodSync(page, 0o640);
    // What others name, too, stays the same file.
    linkSync(page, join(own, "other.html"));
    expect((await run(make)).status).toBe(0);
    expect(statSync(page).nlink).toBe(2);
  });

  const noMounts = process.geteuid?.() === 0 ? undefined : "mounting needs root";
  it.skipIf(skipping("a mounted page", noMounts))("writes into a page that is mounted", async () => {
    const mounted = mkdtempSync(join(folder, "mounted-"));
    const [page, host] = [join(mounted, "page.html"), join(mounted, "host.html")];
    for (const each of [page, host]) writeFileSync(each, "older");
    const make = synprobe("report", "test/golden/nmap-7.93.xml", "-o", page);
    const script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"';
    const { status } = await run(["unshare", "-m", "bash", "-c", script, "-", host, page, ...make]);
    expect([status, readdirSync(mounted)]).toEqual([0, ["host.html", "page.html"]]);
    expect(readFileSync(host, "utf8")).toMatch(/<\/html>\n$/);
  });

  it("writes to standard output too, and reads nmap's XML", async () => {
    const { status, stdout, stderr } = await run(synprobe("report", "test/golden/nmap-7.93.xml", "-o", "-"));
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^<!doctype html>[\s\S]*<\/html>\n$/);
    expect(stdout).toContain("800 ports on 8 hosts");
  });

  it("says of naabu's lines that they are not all of what was probed", async () => {
    const line = { ip: "198.18.0.7", timestamp: "2026-11-21T17:00:26Z", port: 80, protocol: "tcp" };
    const page = readFileSync(await makePage("naabu", [JSON.stringify(line)]), "utf8");
    expect(page).toContain("Only open ports are listed");
    // The answer comes first; nothing stands there empty, or for one port alone.
    expect(page).toContain("<h1>Ports of 198.18.0.7</h1>");
    expect(page).toContain("<span>port looked at</span>");
    expect(page.match(/<section id="\w+"/g)?.map((section) => section.slice(13, -1))).toEqual([
      ...["open", "sure", "results", "runs"],
    ]);
    expect(page).not.toContain("The run is complete");
  });

  it.each([
    ["would not have shown, where none are known", {}, true],
    ["may hide is a warning, where they are known", { bursts: { share: 0.05, mean_ms: 2000 } }, false],
  ])("says that what bursts of loss %s", async (what, bursts, isExcused) => {
    const path = { missed_open: { expected: 0.01, low: 0, high: 23 }, unseen: 438 };
    const lines = [record({}), JSON.stringify({ ...SUMMARY, path, ...bursts })];
    const page = readFileSync(await makePage(`bursts-${what.length}`, lines), "utf8");
    expect(page).toContain("with 95 % confidence between 0 and 23");
    expect(page.includes("as bursts of loss that outlast the run would not have shown")).toBe(isExcused);
  });

  it("tells what the run says of its own certainty, and where it ended", async () => {
    const path = {
      rate: 12_400,
      loss: { round: 0.031, out: 0.012, back: 0.019 },
      missed_open: { expected: 0.4, low: 0, high: 2 },
    };
    const text = readFileSync(
      await makePage("sure", [
        record({ state: "filtered", reason: "no-response", doubt: 0.021 }),
        record({ ip: "192.0.2.7", answers_all: true }),
        JSON.stringify({ type: "fault", target: "nosuch.example", message: "no such host" }),
        JSON.stringify({ ...SUMMARY, unfinished: 3, path, receive_drops: 2, send_errors: { EPERM: 4 } }),
      ]),
      "utf8",
    );
    expect(text).toContain(
      "lost 3.1 % of the probes or of their answers (about 1.2 % on the way out, 1.9 % on the way back)",
    );
    expect(text).toContain("hold about 12,400 SYNs a second");
    expect(text).toContain("About 0.4 open ports may be called filtered here");
    expect(text).toContain("with 95 % confidence between 0 and 2");
    expect(text).toContain("1 host answered on every port that was looked at");
    expect(text).toContain("Not probed: nosuch.example (no such host)");
    expect(text).toContain("refused to send: EPERM 4 times");
    const silent = {
      ...SUMMARY,
      interrupted: true,
      unfinished: 244_602,
      sent: 15_623,
      path: { rate: 10_000, loss: { round: 0 }, missed_open: { expected: 0, low: 0, high: 0 } },
      reasons: { open: {}, closed: {}, filtered: { "no-response": 1 } },
      silence: [{ code: "firewall-out", text: "a <local> firewall drops what is sent" }],
    };
    const [lines, html] = ["nothing.json", "nothing.html"].map((name) => join(folder, name));
    const silence = record({ state: "filtered", reason: "no-response", doubt: 0.000008 });
    writeFileSync(lines, `${silence}\n${JSON.stringify(silent)}\n`);
    expect(await run(synprobe("report", lines, "-o", html))).toMatchObject({ status: 0 });
    const nothing = readFileSync(html, "utf8");
    expect(nothing).toContain(
      "interrupted: 244,602 planned ports have no verdict. 15,623 SYNs had been sent.",
    );
    expect(nothing).toContain("Nothing answered, so the loss of the path is unknown");
    expect(nothing).toContain("a &lt;local&gt; firewall drops what is sent");
    expect(nothing).not.toMatch(/Hardly any|SYNs a second|data-column="doubt"/);
    const cut = readFileSync(join(folder, "sure.json"), "utf8").split("\n").slice(0, 1).join("\n");
    writeFileSync(join(folder, "cut.json"), cut.slice(0, -5));
    const { status, stderr } = await run(
      synprobe("report", join(folder, "cut.json"), "-o", join(folder, "cut.html")),
    );
    expect(status).toBe(0);
    expect(stderr).toContain("cut.json:1: breaks off here");
    expect(readFileSync(join(folder, "cut.html"), "utf8")).toContain(
      "The file has no end (it breaks off in line 1)",
    );
  });
});

describe.skipIf(skipping("the page in a browser", problem))("the page in a browser", () => {
  let browser: Browser;
  let page: Page;
  let complaints: string[];
  let many = "";

  beforeAll(async () => {
    many = await makePage("many", [...manyLines(), JSON.stringify(SUMMARY)]);
    browser = await puppeteer.launch({
      executablePath: CHROMIUM ?? "",
      // Chromium has no sandbox for root; the pages are our own.
      args: process.geteuid?.() === 0 ? ["--no-sandbox"] : [],
    });
  });
  afterAll(() => browser?.close());

  beforeEach(async () => {
    complaints = [];
    page = await browser.newPage();
    page.on("console", (message) => complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("request", (request) => {
      if (!/^(file|data):/.test(request.url())) complaints.push(request.url());
    });
  });
  afterEach(async () => {
    expect(complaints).toEqual([]);
    await page.close();
  });

  const open = (file: string) => page.goto(pathToFileURL(file).href);
  /** The cells of the rows in the document, of one column. */
  const cells = (column: string) =>
    page.$$eval(`#rows td.${column}`, (found) => found.map((cell) => cell.textContent ?? ""));
  const shown = () => page.$eval("#shown", (output) => output.textContent);
  const sortBy = (column: string) => page.click(`#scroller th.${column} button`);
  const filter = (text: string): Promise<void> =>
    page.$eval(
      "#filter",
      (input, words) => {
        (input as HTMLInputElement).value = words;
        input.dispatchEvent(new Event("input"));
      },
      text,
    );
  const scrollTo = (share: number) =>
    page.$eval(
      "#scroller",
      (scroller, to) =>
        new Promise<void>((resolve) => {
          scroller.scrollTop = to * scroller.scrollHeight;
          requestAnimationFrame(() => requestAnimationFrame(() => resolve()));
        }),
      share,
    );

  it(`filters ${ROWS} rows by words and columns`, async () => {
    await open(many);
    expect(await shown()).toBe(`${ROWS} rows`);
    await page.type("#filter", "service:ssh state:open");
    // Every 50th port is ssh, and every third of those is open.
    const expected = Array.from({ length: MANY }, (_, i) => i).filter(
      (i) => i % 50 === 2 && i % 3 === 0,
    ).length;
    expect(await shown()).toBe(`${expected} of ${ROWS} rows`);
    expect(new Set(await cells("service"))).toEqual(new Set(["ssh"]));
    expect(new Set(await cells("state"))).toEqual(new Set(["open"]));
    await filter(`${LAST} port:60-62`);
    // Open ports first.
    const ports = [60, 61, 62].sort((a, b) => ((MANY - 70 + a) % 3) - ((MANY - 70 + b) % 3));
    expect(await cells("port")).toEqual(ports.map(String));
    await filter("nothing of that name");
    expect(await shown()).toBe(`0 of ${ROWS} rows`);
    await sortBy("host");
    await filter("host:198.18.0.1");
    await page.click('button[data-state="closed"]');
    expect(new Set(await cells("state"))).toEqual(new Set(["open", "filtered"]));
  });

  it("sorts them by any column, both ways", async () => {
    await open(many);
    await sortBy("rtt");
    const ascending = (await cells("rtt")).map(Number);
    expect(ascending).toEqual([...ascending].sort((a, b) => a - b));
    expect(ascending[0]).toBe(1);
    await sortBy("rtt");
    expect(await page.$eval("#scroller th.rtt", (head) => head.getAttribute("aria-sort"))).toBe("descending");
    expect(Number((await cells("rtt"))[0])).toBe(10.76);
    await sortBy("host");
    expect((await cells("host"))[0]).toBe("198.18.0.0");
    await sortBy("host");
    expect((await cells("host"))[0]).toBe(LAST);
  });

  it("has few rows in the document, wherever it is scrolled to", async () => {
    await open(many);
    await sortBy("host");
    for (const share of [0, 0.31, 0.7, 1]) {
      await scrollTo(share);
      const count = await page.$$eval("#rows tr", (rows) => rows.length);
      expect(count).toBeGreaterThan(10);
      expect(count).toBeLessThan(80);
    }
    expect((await cells("host")).at(-1)).toBe(LAST);
    expect((await cells("port")).at(-1)).toBe("69");
    expect(await page.$$eval("*", (all) => all.length)).toBeLessThan(10_000);
    await page.click("#rows tr[data-row]:nth-last-child(12) td");
    expect(await page.$eval("#detail", (line) => line.textContent)).toMatch(
      new RegExp(`^host ${LAST} · port \\d+ · state`),
    );
  });

  it("obeys nothing that came from the network", async () => {
    const file = await makePage(
      "hostile",
      [
        ...MARKUP.map((text, i) =>
          record({
            port: i + 1,
            host: text,
            service: text,
            reason: i % 2 === 0 ? text : "syn-ack",
            banner: text,
            responder: text,
            state: i % 3 === 0 ? "filtered" : "open",
          }),
        ),
        JSON.stringify({ type: "fault", target: MARKUP[0], message: MARKUP[3] }),
        JSON.stringify({ ...SUMMARY, send_errors: { [MARKUP[0]]: 1 } }),
      ],
      ...["--title", MARKUP[5]],
    );
    await open(file);
    expect(await shown()).toBe(`${MARKUP.length} rows`);
    expect(await page.evaluate(() => Reflect.get(globalThis, "hacked"))).toBeUndefined();
    expect(await page.$$eval("script", (all) => all.length)).toBe(2);
    expect(await page.$$eval("img, iframe, object, [onload], [onerror]", (all) => all.length)).toBe(0);
    expect(await page.title()).toBe(MARKUP[5]);
    // As text it is all there.
    await filter("port:1");
    expect(await cells("service")).toEqual([MARKUP[0]]);
    expect(await page.$eval("body", (body) => /[\u202e\u2028\u001b]/.test(body.innerText))).toBe(false);
  });

  it("of a store has ports by time and changes, and fits a phone", async () => {
    const path = join(folder, "h.db");
    const store = openStore(path, true);
    for (const [day, state] of (["open", "closed", "filtered"] as const).entries()) {
      const recorder = createRecorder(store);
      for (const [i, text] of MARKUP.entries())
        recorder.add({
          ip: `2001:db8:1:2:3:4:5:${i}`,
          proto: "tcp",
          port: 22,
          state,
          reason: "r",
          host: text,
          service: text,
        });
      const startedMs = Date.UTC(2026, 10, 20 + day);
      recorder.commit({ startedMs, endedMs: startedMs, source: `${day}`, ending: "complete" });
    }
    store.close();
    const { status } = await run(synprobe("report", path, "-o", join(folder, "store.html")));
    expect(status).toBe(0);
    await page.setViewport({ width: 390, height: 800 });
    await open(join(folder, "store.html"));
    const sides = (selector: string) =>
      page.$$eval(selector, (found) => found.map((each) => each.getBoundingClientRect().right));
    for (const selector of ["#timeline rect", "#changes td, #changes th"])
      expect(Math.max(...(await sides(selector)))).toBeLessThanOrEqual(390);
    expect(await page.$$eval("#timeline svg", (all) => all.length)).toBe(MARKUP.length);
    expect(await page.$$eval("#changes tbody tr", (all) => all.length)).toBe(2 * MARKUP.length);
    expect(await page.evaluate(() => Reflect.get(globalThis, "hacked"))).toBeUndefined();
    expect(await page.$$eval("img, iframe, object, [onload], [onerror]", (all) => all.length)).toBe(0);
  });

  it("has a policy that lets no other script run", async () => {
    await open(many);
    const ran = await page.evaluate(async () => {
      const blocked = new Promise((resolve) =>
        document.addEventListener("securitypolicyviolation", resolve, { once: true }),
      );
      const script = document.createElement("script");
      script.textContent = "window.hacked = true";
      document.body.append(script);
      await blocked;
      return Reflect.get(globalThis, "hacked") === true;
    });
    expect(ran).toBe(false);
    expect(complaints.splice(0)).toEqual([expect.stringContaining("Content Security Policy")]);
  });

  it("follows light and dark, fits a phone, and prints what can be printed", async () => {
    await open(many);
    const colours = async (scheme: string) => {
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
      return page.evaluate(() => [
        getComputedStyle(document.body).backgroundColor,
        getComputedStyle(document.querySelector('#services [fill="var(--open)"]') ?? document.body).fill,
      ]);
    };
    expect(await colours("light")).toEqual(["rgb(245, 246, 248)", "rgb(13, 138, 114)"]);
    expect(await colours("dark")).toEqual(["rgb(16, 20, 26)", "rgb(53, 196, 164)"]);
    await page.setViewport({ width: 390, height: 800, isMobile: true });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
    await page.setViewport({ width: 1280, height: 800 });
    await page.emulateMediaType("print");
    const displayed = (selector: string) => page.$eval(selector, (part) => part.getClientRects().length > 0);
    expect(await displayed("#results")).toBe(false);
    expect(await displayed("#open .list tr")).toBe(true);
  });

  it("says most without scripts", async () => {
    await page.setJavaScriptEnabled(false);
    await open(many);
    const text = await page.$eval("body", (body) => body.innerText);
    expect(text).toContain(`${ROWS} ports on ${HOSTS.toLocaleString("en")} hosts`);
    expect(text).toContain("needs a browser with scripts");
    expect(text).toMatch(/198\.18\.0\.0\s+20, 23, 26/);
  });
});
