/** The library's options are the command line's, and each is checked. */
import { describe, expect, it } from "vitest";
import { PROBE_OPTIONS } from "../../../src/cli/options/table.ts";
import { SynprobeError, scan } from "../../../src/index.ts";
import {
  checkOptions,
  OPTION_NAMES,
  planOptionsOf,
  runOptionsOf,
  type ScanOptions,
} from "../../../src/runtime/api/library-options.ts";
import { parseServices } from "../../../src/scan/targets/services.ts";

const services = parseServices("https 443/tcp");

/** How the library has what the command line has under another name. */
const RENAMED: Readonly<Record<string, string>> = {
  noControls: "controls",
  ipv4: "family",
  ipv6: "family",
  timeout: "timeoutMs",
  hostTimeout: "hostTimeoutMs",
  banner: "bannerMs",
  statsEvery: "progressEveryMs",
  show: "states",
};
/** What is the command line's alone: its files, its terminal, its process. */
const OF_COMMAND_LINE =
  /^(inputList|excludeFile|journal|resume|dryRun|inputResults|only|showFiles|output\w+|pcap(All)?|requireOpen|why(Limit)?|verbose|packetTrace|config|printConfig|noDrop|store|jsonFields|from|fleet\w*)$/;
const OF_LIBRARY = ["signal", "onProgress"];

describe("the library's options", () => {
  it("are the command line's in camel case", () => {
    const camel = PROBE_OPTIONS.map(({ flags }) =>
      (/--([a-z0-9-]+)/.exec(flags)?.[1] ?? "").replace(/-(\w)/g, (_, letter: string) =>
        letter.toUpperCase(),
      ),
    );
    const wanted = camel.filter((name) => !OF_COMMAND_LINE.test(name)).map((name) => RENAMED[name] ?? name);
    expect([...OPTION_NAMES].sort()).toEqual([...new Set([...wanted, ...OF_LIBRARY])].sort());
  });

  it.each<[string, unknown]>([
    ["retries", -1],
    ["retries", 1.5],
    ["retries", "2"],
    ["timeoutMs", 0],
    ["confidence", 0.4],
    ["timing", 6],
    ["family", 5],
    ["interface", 1],
    ["complete", "yes"],
    ["signal", {}],
    ["ports", [22, 65_536]],
    ["ports", 22],
    ["exclude", [1]],
    ["seed", -1],
    ["seed", 2 ** 53],
    ["seed", 1n << 64n],
    ["shard", { index: 3, count: 2 }],
    ["link", "ring"],
    ["states", ["up"]],
    ["onProgress", 1],
    ["progressEveryMs", 49],
    ["toString", 1],
  ])("refuse %s: %s", (name, value) => {
    const refused = (): void => checkOptions({ [name]: value } as ScanOptions);
    expect(refused).toThrow(SynprobeError);
    expect(refused).toThrow(new RegExp(name));
  });

  it.each([undefined, null, 42, (async function* () {})()])(
    "go with targets, which are not %s",
    async (targets) => {
      const run = scan(targets as unknown as string);
      const refused = { code: "ERR_USAGE", message: expect.stringContaining("targets are") };
      await expect(run.summary).rejects.toMatchObject(refused);
    },
  );

  it("contradict each other in one clear line", () => {
    expect(() => checkOptions({ ports: "22", topPorts: 5 })).toThrow("ports and topPorts exclude each other");
    expect(() => checkOptions({ minRate: 2, maxRate: 1 })).toThrow("minRate 2 is above maxRate 1");
    expect(() => checkOptions({ shard: { index: 1, count: 2 } })).toThrow("the same seed, or sequential");
    expect(() => checkOptions({ shard: { index: 1, count: 2 }, seed: 7 })).not.toThrow();
  });

  it("come to what the command line's come to", async () => {
    expect(runOptionsOf({}, services)).toMatchObject({
      retries: 10,
      waitMs: { initial: 1100, least: 100, most: 10_000 },
      rate: { minimum: 10, maximum: 10_000_000 },
      link: "auto",
      order: { sequential: false },
    });
    const asked = {
      timing: 5,
      retries: 3,
      timeoutMs: 70,
      maxRate: 5,
      seed: 9,
      shard: { index: 2, count: 3 },
    };
    expect(runOptionsOf({ ...asked, bannerMs: 40, maxRatePerHost: 2 }, services)).toMatchObject({
      retries: 3,
      waitMs: { initial: 70, least: 70, most: 70 },
      rate: { minimum: 5, maximum: 5 },
      hostTimeoutMs: 900_000,
      ratePerHost: 2,
      complete: { bannerMs: 40 },
      order: { seed: 9n, shard: { index: 1, count: 3 } },
    });
    const plan = await planOptionsOf(
      { ports: [80, 22, 80], excludePorts: "https", exclude: "198.18.0.9" },
      services,
    );
    expect(plan).toMatchObject({ ttl: 64, allAddresses: false, exclude: [{ text: "198.18.0.9" }] });
    expect([plan.ports?.(), plan.excludePorts]).toEqual([Uint16Array.of(22, 80), Uint16Array.of(443)]);
    const excluded = planOptionsOf({ exclude: ["198.18.0.9:22"] }, services);
    await expect(excluded).rejects.toThrow("hosts go to exclude, ports to excludePorts");
  });
});
