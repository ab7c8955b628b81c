/**
 * A policy held against results as they fall: counts by rule, and every pair that is not as written. A result that corrects
 * another, or a second look, replaces what was said of the pair before.
 *
 * Pure. Not here: how the report looks (formats/).
 */
import { compareKeys, sortKey } from "../report/addresses.ts";
import { type PlaceVerdict, type PortResult, pairKey, type TargetFault } from "../scan/probe/result.ts";
import type { Expectations } from "./expectations.ts";
import { judge, type Outcome } from "./judge.ts";
import type { Policy, Rule } from "./policy.ts";

/** A pair that is not as written, or of which it could not be told. */
export interface Finding {
  readonly outcome: Exclude<Outcome, "as-written">;
  readonly rule: Rule;
  readonly result: PortResult;
  /** Where its SYNs stop, under --why. */
  readonly where?: string;
}

export type Counts = Readonly<Record<Outcome, number>>;

/** What came of a check. */
export interface CheckReport {
  readonly policy: Policy;
  readonly counts: Counts;
  /** By the rules' numbers. */
  readonly ofRules: readonly Counts[];
  /** By address and port. */
  readonly findings: readonly Finding[];
  /** Targets that could not be probed at all. */
  readonly faults: readonly TargetFault[];
  /** Pairs that the run did not come to. */
  readonly unfinished: number;
  /** Pairs that the policy is about and that the user has excluded. */
  readonly excluded: number;
  /** Milliseconds since the Unix epoch, and milliseconds. */
  readonly startedMs: number;
  readonly elapsedMs: number;
}

/** How a run ended, as far as a check wants to know. */
export interface CheckedRun {
  readonly faults: readonly TargetFault[];
  readonly unfinished: number;
  readonly startedMs: number;
  readonly elapsedMs: number;
  readonly where?: readonly { readonly ip: string; readonly port: number; readonly text: string }[];
}

/** What the engine knows of a pair, before there is a result of it: a verdict (scan/probe/verdict.ts). */
export interface QuickLook {
  readonly peer: Uint32Array;
  readonly family: 4 | 6;
  readonly port: number;
  readonly state: PortResult["state"];
  readonly reason: PortResult["reason"];
  readonly doubt: number;
  readonly was: PortResult["state"] | null;
}

export interface Check {
  take(result: PortResult): void;
  /** Counts a verdict that is as written, or of no rule, so that no result has to be made of it. @returns whether it was */
  passes(verdict: QuickLook): boolean;
  counts(): Counts;
  /** What could not be told so far, for a second look. */
  untold(): readonly PortResult[];
  report(run: CheckedRun): CheckReport;
}

/** By a rule, what is worst of what places have found: as a result of those that found it. */
function worstOf(rule: Rule, result: PortResult, seen: readonly PlaceVerdict[]): PortResult {
  const outcomes = seen.map((each) => judge(rule, each));
  const worst = (["differs", "untold", "as-written"] as const).find((each) => outcomes.includes(each));
  const from = seen.filter((_, i) => outcomes[i] === worst);
  const { place: _, ...verdict } = from[0];
  if (verdict.state === result.state && verdict.reason === result.reason)
    return { ...result, ...verdict, from };
  // Of the others' evidence nothing else is known.
  const { ip, port, host, service, timeMs } = result;
  return {
    ip,
    port,
    timeMs,
    ...verdict,
    ...(host === undefined ? {} : { host }),
    ...(service === undefined ? {} : { service }),
    from,
  };
}

/** @param excluded pairs that are not probed, as the user has excluded them (excluded.ts) */
export function createCheck(policy: Policy, expectations: Expectations, excluded = 0): Check {
  const noCounts = (): Record<Outcome, number> => ({ "as-written": 0, differs: 0, untold: 0 });
  const all = noCounts();
  const ofRules = policy.rules.map(noCounts);
  /** By pair, and by rule where places have several. */
  const findings = new Map<string, Finding>();
  const count = ({ number }: Rule, outcome: Outcome, by: 1 | -1): void => {
    all[outcome] += by;
    ofRules[number][outcome] += by;
  };

  function takeOne(key: string, rule: Rule | undefined, result: PortResult): void {
    // Probed for another group than the one that counts, if at all.
    if (rule === undefined) return;
    const outcome = judge(rule, result);
    const before = findings.size === 0 ? undefined : findings.get(key);
    if (before !== undefined) count(rule, before.outcome, -1);
    else if (result.was !== undefined) count(rule, "as-written", -1);
    count(rule, outcome, 1);
    if (outcome !== "as-written") findings.set(key, { outcome, rule, result });
    else if (before !== undefined) findings.delete(key);
  }

  return {
    take(result) {
      const { ip, port, from } = result;
      if (from === undefined) return takeOne(pairKey(result), expectations(ip, port), result);
      const byRule = new Map<Rule, PlaceVerdict[]>();
      for (const each of from) {
        const rule = expectations(ip, port, each.place);
        if (rule !== undefined) byRule.set(rule, [...(byRule.get(rule) ?? []), each]);
      }
      for (const [rule, seen] of byRule)
        takeOne(`${pairKey(result)} ${rule.number}`, rule, worstOf(rule, result, seen));
    },
    passes(verdict) {
      // A correction has to be seen beside what it corrects.
      if (verdict.was !== null) return false;
      const rule = expectations.ofWords(verdict.peer, verdict.family, verdict.port);
      if (rule === undefined) return true;
      if (judge(rule, verdict) !== "as-written") return false;
      count(rule, "as-written", 1);
      return true;
    },
    counts: () => ({ ...all }),
    untold: () =>
      [...findings.values()].flatMap(({ outcome, result }) => (outcome === "untold" ? [result] : [])),
    report({ where = [], faults, unfinished, startedMs, elapsedMs }) {
      const places = new Map(where.map((place) => [pairKey(place), place.text]));
      const sorted = [...findings.values()]
        .map((finding) => ({
          key: sortKey(finding.result.ip),
          where: places.get(pairKey(finding.result)),
          finding,
        }))
        .sort((a, b) => compareKeys(a.key, b.key) || a.finding.result.port - b.finding.result.port)
        .map(({ finding, where }) => (where === undefined ? finding : { ...finding, where }));
      return {
        policy,
        counts: { ...all },
        ofRules,
        findings: sorted,
        faults,
        unfinished,
        excluded,
        startedMs,
        elapsedMs,
      };
    },
  };
}
