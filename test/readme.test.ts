/** README is a front page, and every document leads where it says. What topics state of the code is in cli/help/topics.test.ts. */
import { existsSync, statSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "./cli/process.ts";
import { ALL, blocksOf, README } from "./documents.ts";

describe("README", () => {
  it("is read in five minutes", () => {
    expect(README.text.split(/\s+/).filter((word) => word !== "").length).toBeLessThanOrEqual(1800);
  });

  it("begins with the command that shows synprobe, and has the one that .ci/run looks for", () => {
    const [first, second] = blocksOf(README, "");
    expect(first).toBe("npm ci && npm start -- demo\n");
    expect(second).toBe("npm ci && npm test\n");
  });

  it("has a picture that is small", () => {
    const [, picture = ""] = /^!\[[^\]]+\]\(([^)]+)\)$/m.exec(README.text) ?? [];
    expect(statSync(join(ROOT, picture)).size).toBeLessThan(120_000);
  });

  it("leads to every other document", () => {
    const linked = new Set(linksOf(README.text).map((link) => link.replace(/#.*/, "")));
    const notes = (path: string): boolean => path.startsWith("native-notes/");
    // Contributors come to it from CONTRIBUTING.
    for (const { path } of ALL.filter((document) => document !== README && !notes(document.path)))
      if (path !== "test/README.md") expect(linked).toContain(path);
    expect(linked).toContain("native-notes/changelog.md");
  });
});

/** Where the links and pictures of a text go, without what stands between fences. */
const linksOf = (text: string): string[] =>
  [...text.replace(/^```[\s\S]*?^```$/gm, "").matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link);

/** GitHub's name for a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");

describe.each(ALL)("$path", ({ path, text }) => {
  it("has no link that leads nowhere", () => {
    for (const link of linksOf(text).filter((each) => !/^https?:/.test(each))) {
      const [file, anchor] = link.split("#");
      const target = file === "" ? path : normalize(join(dirname(path), file));
      expect(existsSync(join(ROOT, target)), `${link} of ${path}`).toBe(true);
      if (anchor === undefined) continue;
      const document = ALL.find((each) => each.path === target);
      const headings = [...(document?.text.matchAll(/^#+ (.+)$/gm) ?? [])].map(([, heading]) =>
        anchorOf(heading),
      );
      expect(headings, link).toContain(anchor);
    }
  });

  it("has no placeholder left", () => {
    expect(text).not.toMatch(/@@|TODO|FIXME|\{\{/);
  });
});
