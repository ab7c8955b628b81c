/**
 * A process that keeps a journal until it is killed or cannot go on. Told by its arguments: the file, "create" or "resume", and
 * how many results to append (0: without end). After each flush it prints how many results are in the file for good; an error
 * is printed as its code and message.
 *
 * Run with tsx; results have the positions 0, 1, 2 … as `sampleRecords` makes them.
 */
import { writeSync } from "node:fs";
import { openJournal } from "../../../src/runtime/journal/reader.ts";
import { createJournal, type Journal } from "../../../src/runtime/journal/writer.ts";
import { HEADER, sampleRecords } from "./journal-samples.ts";

const [path = "", how = "", limit = "0"] = process.argv.slice(2);
/** So many results at once: several blocks, the last one not full. */
const BATCH = 2500;

const say = (line: string): void => void writeSync(1, `${line}\n`);

async function open(): Promise<{ journal: Journal; position: number }> {
  if (how === "create") return { journal: await createJournal(path, HEADER), position: 0 };
  const past = await (await openJournal(path)).resume(HEADER, () => 0);
  return { journal: past.journal, position: past.decided };
}

try {
  const { journal, position: first } = await open();
  say(`open ${first}`);
  let position = first;
  let flushed = Promise.resolve();
  while (limit === "0" || position < Number(limit)) {
    const count = limit === "0" ? BATCH : Math.min(BATCH, Number(limit) - position);
    journal.results(sampleRecords(position, count), count);
    position += count;
    journal.checkpoint({ marks: [position], totals: { sent: position } });
    const safe = position;
    flushed = flushed.then(() => journal.flush()).then(() => say(`flushed ${safe}`));
    // The next results come while this flush is still under way.
    await Promise.race([flushed, new Promise((resolve) => setImmediate(resolve))]);
  }
  await flushed;
  await journal.finish({ marks: [position], totals: { sent: position } });
  await journal.close();
  say("complete");
} catch (error) {
  say(error instanceof Error && "code" in error ? `${error.code} ${error.message}` : String(error));
  process.exitCode = 1;
}
