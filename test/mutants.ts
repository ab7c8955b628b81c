/**
 * Forty mutants: small mistakes, chosen by hand across the rooms, each of which some test must notice. `npm run mutants [words]`
 * breaks one place after another in a copy of the sources, runs the nearest tests, and says which mutants survived. With words
 * only those mutants whose file holds one of them. `npm run mutants -- sample COUNT SEED [words]` draws instead (mutant-samples.ts).
 *
 * Not part of `npm test`: it shows what the tests are worth, not whether the program is right. When code moves, the text of a
 * mutant has to follow: mutants.test.ts holds that it is found exactly once.
 */
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { copyOf, outcomeOf } from "./mutant-runs.ts";
import { runSample } from "./mutant-samples.ts";

interface Mutant {
  /** Below src/. */
  readonly file: string;
  /** The text that is replaced, and by what. */
  readonly from: string;
  readonly to: string;
  /** Below test/; those that are there are run. */
  readonly tests: readonly string[];
}

const ENGINE = ["scan/engine/engine.test.ts", "sim/engine.test.ts"];

/** Held to the sources by mutants.test.ts. */
export const MUTANTS: readonly Mutant[] = [
  // wire
  {
    file: "wire/checksum.ts",
    from: "if (i < end) upper += b[i];",
    to: "if (i < end) lower += b[i];",
    tests: ["wire/checksum.test.ts"],
  },
  {
    file: "wire/ipv4.ts",
    from: "total >= length && at + total <= end",
    to: "total >= length",
    tests: ["wire/ipv4.test.ts"],
  },
  {
    file: "wire/ipv4.ts",
    from: "(MORE_FRAGMENTS | FRAGMENT_OFFSET)",
    to: "FRAGMENT_OFFSET",
    tests: ["wire/ipv4.test.ts", "scan/probe/reply-decoder.test.ts"],
  },
  {
    file: "wire/ipv6.ts",
    from: "(b[at + 1] + 2) * 4",
    to: "(b[at + 1] + 1) * 8",
    tests: ["wire/ipv6.test.ts"],
  },
  {
    file: "wire/tcp-options.ts",
    from: "length < 2 ||",
    to: "length < 1 ||",
    tests: ["wire/tcp-options.test.ts", "wire/hostile.test.ts"],
  },
  {
    file: "wire/quote.ts",
    from: "at + QUOTED_TRANSPORT_LENGTH > end",
    to: "at + QUOTED_TRANSPORT_LENGTH > end + 1",
    tests: ["wire/icmp.test.ts", "wire/icmpv6.test.ts"],
  },
  // socket
  {
    file: "socket/sequence.ts",
    from: "seqDiff(a, b) <= 0",
    to: "a <= b",
    tests: ["socket/sequence.test.ts"],
  },
  {
    file: "socket/state.ts",
    from: "[S.open, S.closed, S.silent, S.silent, S.silent]",
    to: "[S.open, S.closed, S.rejected, S.silent, S.silent]",
    tests: ["socket/state.test.ts"],
  },
  {
    file: "socket/table.ts",
    from: "distance >= ((slot - hole) & mask)",
    to: "distance > ((slot - hole) & mask)",
    tests: ["socket/table.test.ts"],
  },
  {
    file: "socket/timer-wheel.ts",
    from: "Math.ceil(deadline[row] / TICK_US)",
    to: "Math.floor(deadline[row] / TICK_US)",
    tests: ["socket/timer-wheel.test.ts"],
  },
  {
    file: "socket/ports.ts",
    from: "while (gcd(stride, size) !== 1) stride++;",
    to: "",
    tests: ["socket/ports.test.ts"],
  },
  {
    file: "socket/rto.ts",
    from: "4 * rttvar",
    to: "2 * rttvar",
    tests: ["socket/rto.test.ts", "socket/control-block.test.ts"],
  },
  {
    file: "socket/control-block.ts",
    from: "window === 0 && segment.sequence === next",
    to: "window === 0",
    tests: ["socket/control-block.test.ts"],
  },
  // scan/targets
  {
    file: "scan/targets/permutation.ts",
    from: "while (place >= size) place = onceBack(place);",
    to: "",
    tests: ["scan/targets/permutation.test.ts"],
  },
  {
    file: "scan/targets/port-list.ts",
    from: "reached = Math.max(reached, range[1]);",
    to: "reached = range[1];",
    tests: ["scan/targets/port-list.test.ts", "scan/targets/grammar.test.ts"],
  },
  {
    file: "scan/targets/port-sets.ts",
    from: "if (starts[set + 1] - from !== length) return false;",
    to: "",
    tests: ["scan/targets/port-sets.test.ts", "scan/targets/space.test.ts"],
  },
  {
    file: "scan/targets/source.ts",
    from: "Math.ceil((from - worker.index) / worker.count)",
    to: "Math.floor((from - worker.index) / worker.count)",
    tests: ["scan/targets/source.test.ts", "scan/targets/permutation.test.ts", "lab/resume.test.ts"],
  },
  {
    file: "scan/targets/address-range.ts",
    from: "last[i] |= hostBits;",
    to: "last[i] |= hostBits >>> 1;",
    tests: ["scan/targets/address-range.test.ts", "scan/targets/space.test.ts"],
  },
  // scan/probe
  {
    file: "scan/probe/classify.ts",
    from: "case FLAGS.RST | FLAGS.ACK:",
    to: "",
    tests: ["scan/probe/classify.test.ts", ...ENGINE],
  },
  {
    file: "scan/probe/classify.ts",
    from: 'family === 6 && errno === "EINVAL"',
    to: 'errno === "EINVAL"',
    tests: ["scan/probe/classify.test.ts", ...ENGINE],
  },
  {
    file: "scan/probe/reply-decoder.ts",
    from: 'if (ipv4.isFragment(b, at)) return "fragment";',
    to: "",
    tests: ["scan/probe/reply-decoder.test.ts", ...ENGINE],
  },
  {
    file: "scan/probe/reply-decoder.ts",
    from: "quote.protocol !== PROTOCOL.TCP ||",
    to: "",
    tests: ["scan/probe/reply-decoder.test.ts", ...ENGINE],
  },
  // scan/measure
  {
    file: "socket/rto.ts",
    from: "rttvar[i] += 2 * gain *",
    to: "rttvar[i] += gain *",
    tests: ["socket/rto.test.ts"],
  },
  {
    file: "scan/measure/loss.ts",
    from: "HIDDEN_DEVIATION ** 2 * MANY_LOST",
    to: "0 * MANY_LOST",
    tests: ["scan/measure/loss.test.ts", "sim/networks.test.ts"],
  },
  {
    file: "scan/measure/missed-ports.ts",
    from: "chance) / (1 - chance)",
    to: "chance) / (1 + chance)",
    tests: ["sim/path-knowledge.test.ts", "sim/networks.test.ts"],
  },
  // scan/congestion
  {
    file: "scan/congestion/pacer.ts",
    from: "tokens[0] = Math.max(-burst, Math.min(burst, tokens[0] + more));",
    to: "tokens[0] = Math.max(-burst, tokens[0] + more);",
    tests: ["scan/congestion/pacer.test.ts"],
  },
  {
    file: "scan/congestion/slow-start.ts",
    from: "share + error < GOOD_SHARE * tally.best",
    to: "false",
    tests: ["scan/congestion/slow-start.test.ts", "scan/congestion/controller.test.ts"],
  },
  // scan/hosts
  {
    file: "scan/hosts/host-rate.ts",
    from: "forgets && Math.max(old.next[slot], old.free[slot]) <= nowUs",
    to: "forgets",
    tests: ["scan/hosts/host-rate.test.ts"],
  },
  {
    file: "scan/hosts/host-rate.ts",
    from: "Math.max(nowUs, free[slot]) + betweenUs",
    to: "nowUs + betweenUs",
    tests: ["scan/hosts/host-rate.test.ts"],
  },
  {
    file: "scan/hosts/host-rate.ts",
    from: "Math.max(old.next[slot], old.free[slot]) <= nowUs",
    to: "old.next[slot] <= nowUs",
    tests: ["scan/hosts/host-rate.test.ts"],
  },
  {
    file: "scan/hosts/tarpits.ts",
    from: "check.accepted > 0 && check.refused === 0",
    to: "check.accepted > 0",
    tests: ["scan/hosts/tarpits.test.ts", "sim/path-knowledge.test.ts"],
  },
  // scan/engine
  {
    file: "scan/engine/receive.ts",
    from: "table.iss[columnOf(row, attempt)] !== reply.sequence",
    to: "false",
    tests: ENGINE,
  },
  {
    file: "scan/engine/receive.ts",
    from: "!isProof(kind, seqDiff(reply.acknowledgement, table.iss[columnOf(row, attempt)]))",
    to: "false",
    tests: ENGINE,
  },
  {
    file: "scan/engine/send-backoff.ts",
    from: "if (nowUs < pausedUntil) return;",
    to: "",
    tests: ["scan/engine/send-backoff.test.ts"],
  },
  // runtime/journal
  {
    file: "runtime/journal/blocks.ts",
    from: "b.writeUIntBE(length, at + LENGTH, 3);",
    to: "b.writeUIntBE(length & 0xffff, at + LENGTH, 3);",
    tests: ["runtime/journal/writer.test.ts"],
  },
  {
    file: "runtime/journal/blocks.ts",
    from: "crc32(b, at + COVERED,",
    to: "crc32(b, at + COVERED + 1,",
    tests: ["runtime/journal/writer.test.ts"],
  },
  // link
  {
    file: "link/filter.ts",
    from: '[OP.jumpSet, 0x1fff, "drop"',
    to: '[OP.jumpSet, 0x0fff, "drop"',
    tests: ["link/filter.test.ts"],
  },
  {
    file: "link/filter.ts",
    from: "[OP.jumpGreater, last,",
    to: "[OP.jumpGreaterEqual, last,",
    tests: ["link/filter.test.ts"],
  },
  // report
  {
    file: "report/escape.ts",
    from: String.raw`/[\p{C}\p{Zl}\p{Zp}]/u`,
    to: String.raw`/[\p{Cc}\p{Zl}\p{Zp}]/u`,
    tests: ["report/escape.test.ts"],
  },
  {
    file: "report/formats/csv.ts",
    from: "escape_formulas: true",
    to: "escape_formulas: false",
    tests: ["report/consumers.test.ts", "report/golden.test.ts"],
  },
  // cli
  {
    file: "cli/run/progress.ts",
    from: "Math.floor((part / whole) * 1000)",
    to: "Math.round((part / whole) * 1000)",
    tests: ["cli/run/progress.test.ts"],
  },
  {
    file: "suggest.ts",
    from: "const exchanged = i > 1 && j > 1 &&",
    to: "const exchanged = false &&",
    tests: ["suggest.test.ts", "cli/spellings.test.ts", "cli/bad-input.test.ts"],
  },
];

const LIMIT_S = 90;

async function runChosen(copy: string, words: readonly string[]): Promise<void> {
  const chosen = MUTANTS.filter(
    ({ file }) => words.length === 0 || words.some((word) => file.includes(word)),
  );
  let survivors = 0;
  for (const { file, from, to, tests } of chosen) {
    const set = { tests, limitS: LIMIT_S };
    const outcome = await outcomeOf(copy, file, (source) => source.replace(from, () => to), [set]);
    if (outcome === "survived") survivors++;
    console.log(`${file}: ${from} → ${to === "" ? "nothing" : to}: ${outcome}`);
  }
  console.log(`${chosen.length - survivors} killed, ${survivors} survived`);
  if (survivors > 0) process.exitCode = 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const copy = copyOf();
  process.on("exit", () => rmSync(copy, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));
  const [kind, count, seed, ...words] = process.argv.slice(2);
  if (kind === "sample")
    await runSample(copy, Number(count ?? 200), Number(seed ?? Date.now() % 2 ** 31), words);
  else await runChosen(copy, process.argv.slice(2));
}
