/** The ports for --top-ports: how many, in which order, and what is refused. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { topPorts } from "../../../src/scan/targets/top-ports.ts";

describe("the top ports", () => {
  it("begin with what is open most often", () => {
    expect([...topPorts(1)]).toEqual([80]);
    expect([...topPorts(10)]).toEqual([21, 22, 25, 80, 135, 139, 443, 445, 3389, 8080]);
    for (const port of [
      21, 22, 23, 25, 53, 80, 110, 135, 139, 143, 443, 445, 993, 995, 3306, 3389, 5900, 8080,
    ])
      expect(topPorts(30)).toContain(port);
  });

  it("are so many, ascending, each once, and the fewer among the more", () => {
    let fewer = topPorts(1);
    for (const count of [2, 100, 311, 312, 1000, 65_535]) {
      const ports = topPorts(count);
      expect(ports).toHaveLength(count);
      for (let i = 1; i < count; i++)
        if (ports[i] <= ports[i - 1]) throw new Error(`${ports[i]} is out of order`);
      for (const port of fewer) if (!ports.includes(port)) throw new Error(`${port} is lost`);
      fewer = ports;
    }
  });

  it("are what they were: pairs of a journal, and of other machines' shards, are known by their place", () => {
    const ranking: number[] = [];
    for (let count = 1; count <= 320; count++)
      ranking.push(...topPorts(count).filter((port) => !ranking.includes(port)));
    expect(ranking.slice(0, 12)).toEqual([80, 443, 22, 3389, 445, 8080, 139, 135, 21, 25, 53, 8443]);
    expect(createHash("sha256").update(ranking.join()).digest("hex")).toBe(
      "bec2008855c29795b6702b503d0f896ae7ad864fc6e460b0c3973033d58499db",
    );
  });

  it.each([0, -1, 65_536, 1.5, Number.NaN])("%d of them are refused", (count) => {
    expect(() => topPorts(count)).toThrow(/a whole number from 1 to 65535/);
  });
});
