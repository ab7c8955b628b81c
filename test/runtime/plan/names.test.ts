/** Which names an address and port have. */
import { expect, it } from "vitest";
import { namesIn } from "../../../src/runtime/plan/names.ts";

it("gives each name once, in the order of the targets, also one that comes later", () => {
  const few = Uint16Array.of(80);
  const many = Uint16Array.from({ length: 100 }, (_, i) => i + 1);
  const names = new Map([
    [
      "192.0.2.1",
      [
        { name: "b", ports: many },
        { name: "a", ports: few },
      ],
    ],
  ]);
  const namesOf = namesIn(names);
  expect([80, 81, 443].map((port) => namesOf("192.0.2.1", port))).toEqual([["b", "a"], ["b"], []]);
  names.set("192.0.2.1", [
    ...(names.get("192.0.2.1") ?? []),
    { name: "c", ports: few },
    { name: "a", ports: many },
  ]);
  expect([80, 81].map((port) => namesOf("192.0.2.1", port))).toEqual([
    ["b", "a", "c"],
    ["b", "a"],
  ]);
  expect(namesOf("192.0.2.2", 80)).toEqual([]);
});

it("gives the same list for the same names: all ports of a host with hundreds of names share it", () => {
  const ports = Uint16Array.from({ length: 65_535 }, (_, i) => i + 1);
  const names = new Map([["192.0.2.1", Array.from({ length: 9 }, (_, i) => ({ name: `n${i}`, ports }))]]);
  const namesOf = namesIn(names);
  expect(namesOf("192.0.2.1", 65_535)).toHaveLength(9);
  expect(namesOf("192.0.2.1", 65_535)).toBe(namesOf("192.0.2.1", 1));
});
