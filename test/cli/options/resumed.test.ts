/** What a resumed run has of the command that began. */
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { expandAliases } from "../../../src/cli/options/aliases.ts";
import { addOptions } from "../../../src/cli/options/commander.ts";
import { type GivenTargets, resumeOptions } from "../../../src/cli/options/resumed.ts";
import { PROBE_OPTIONS } from "../../../src/cli/options/table.ts";

/** Resumes with the second command line. @returns the targets, and what is given of the options now */
function resume(began: string, now: string, piped = false) {
  const words = (text: string): string[] => text.split(" ").filter((word) => word !== "");
  const program = new Command("synprobe").argument("[targets...]").action(() => {});
  const written = addOptions(program, PROBE_OPTIONS);
  program.parse(expandAliases(["--resume", "j", ...words(now)]), { from: "user" });
  const isNamed = program.args.length > 0 || written.has("inputList") || written.has("inputResults");
  const given: GivenTargets = { named: isNamed ? program.args : undefined, piped };
  const earlier = { argv: words(began), directory: "/then" };
  const targets = resumeOptions("j", earlier, program, written, given);
  const values: Record<string, unknown> = program.opts();
  const { resume: _, ...options } = Object.fromEntries(
    Object.entries(values).filter(([name]) => program.getOptionValueSource(name) === "cli"),
  );
  return { targets, options };
}

describe("a resumed run", () => {
  const LIMITS = "--max-rate 300 --retries 2 -oJ a.json --journal j";
  const limits = { maxRate: 300, retries: 2, outputJson: "/then/a.json" };

  it("alone has targets, options and outputs of the command that began", () => {
    expect(resume(`198.18.0.1 -iL list ${LIMITS}`, "")).toEqual({
      targets: ["198.18.0.1"],
      options: { ...limits, inputList: "/then/list" },
    });
  });

  it.each([
    ["198.18.0.1 -iL list -iR old --only open", "198.18.0.2", { targets: ["198.18.0.2"], options: limits }],
    ["198.18.0.1", "-iL new", { targets: [], options: { ...limits, inputList: "new" } }],
    ["-iL -", "-iL -", { targets: [], options: { ...limits, inputList: "-" } }],
    [
      "-iR old --only open",
      "-iR old",
      { targets: [], options: { ...limits, inputResults: "old", only: ["open"] } },
    ],
  ])("%s, with targets %s: those, and the earlier options", (began, now, wanted) => {
    expect(resume(`${began} ${LIMITS}`, now)).toEqual(wanted);
  });

  it.each([
    ["", {}],
    ["-iL -", { inputList: "-" }],
    ["-iR -", { inputResults: "-" }],
  ])("of targets from standard input (%s): has them from there, or is refused", (began, options) => {
    expect(resume(`${began} ${LIMITS}`, "", true)).toEqual({
      targets: [],
      options: { ...limits, ...options },
    });
    expect(() => resume(`${began} ${LIMITS}`, "")).toThrow(/came from standard input/);
  });

  it("has in the place of earlier options those that are given", () => {
    expect(resume("198.18.0.1 -p 22 --max-rate 300", "--top-ports 10 --max-rate 7").options).toEqual({
      topPorts: 10,
      maxRate: 7,
    });
    expect(resume("198.18.0.1 -oJ - -oX a.xml", "-oG -").options).toEqual({
      outputGrepable: "-",
      outputXml: "/then/a.xml",
    });
  });

  it("does not ask for what was excluded by standard input: the journal has it", () => {
    expect(resume("198.18.0.1 --exclude-file -", "").options).toEqual({});
    expect(resume("198.18.0.1 --exclude-file no", "").options).toEqual({ excludeFile: ["/then/no"] });
  });
});
