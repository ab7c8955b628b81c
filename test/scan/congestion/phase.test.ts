/** The phases of the rate controller: every transition, allowed or not. */
import { expect, it } from "vitest";
import { createPhaseMachine, type Phase, type PhaseName } from "../../../src/scan/congestion/phase.ts";

const PHASES: Readonly<Record<PhaseName, Phase>> = {
  startup: { name: "startup" },
  draining: { name: "draining", yieldUs: 1, acceptUs: 2 },
  probing: { name: "probing" },
  suspecting: { name: "suspecting" },
};
const NAMES = Object.keys(PHASES) as PhaseName[];
const ALLOWED = [
  "startup draining",
  "startup probing",
  "draining draining",
  "draining probing",
  "draining suspecting",
  "draining startup",
  "probing draining",
  "suspecting draining",
  "suspecting probing",
  "suspecting startup",
];

/** A machine in this phase. */
function machineIn(name: PhaseName) {
  const machine = createPhaseMachine();
  if (name !== "startup") machine.transitionTo(PHASES.draining);
  if (name === "probing" || name === "suspecting") machine.transitionTo(PHASES[name]);
  expect(machine.current()).toBe(name === "startup" ? machine.current() : PHASES[name]);
  expect(machine.is(name)).toBe(true);
  return machine;
}

it("begins in startup", () => {
  expect(createPhaseMachine().current()).toEqual({ name: "startup" });
});

it.each(NAMES.flatMap((from) => NAMES.map((to) => [from, to] as const)))("from %s to %s", (from, to) => {
  const machine = machineIn(from);
  const go = (): void => machine.transitionTo(PHASES[to]);
  if (ALLOWED.includes(`${from} ${to}`)) {
    go();
    expect(machine.current()).toBe(PHASES[to]);
  } else {
    expect(go).toThrow(`cannot go from ${from} to ${to}`);
    expect(machine.is(from)).toBe(true);
  }
});
