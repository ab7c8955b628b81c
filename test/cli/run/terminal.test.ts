/** Messages on standard error: a reader that stalls takes no memory, and is told how much it has missed. */
import { afterAll, beforeEach, expect, it, vi } from "vitest";

const stream = vi.hoisted(() => ({ held: 0, text: "" }));
vi.mock("../../../src/cli/run/writer.ts", () => ({
  createWriter: () => ({
    write(text: string) {
      stream.text += text;
      stream.held += text.length;
    },
    held: () => stream.held,
  }),
}));

// Other files in this process have, and get, the real one.
vi.resetModules();
const { writeError } = await import("../../../src/cli/run/terminal.ts");
afterAll(() => void vi.resetModules());

beforeEach(() => {
  stream.held = 0;
  stream.text = "";
});

it("messages that nobody reads are left out from a megabyte on, and counted when they are read again", () => {
  const line = `${"x".repeat(99)}\n`;
  for (let i = 0; i < 20_000; i++) writeError(line);
  expect(stream.held).toBeLessThanOrEqual((1 << 20) + line.length);
  const written = stream.held / line.length;
  stream.held = 0;
  stream.text = "";
  writeError("again\n");
  writeError("and again\n");
  const missed = (20_000 - written).toLocaleString("en");
  expect(stream.text).toBe(
    `synprobe: ${missed} messages left out here: nobody read standard error\nagain\nand again\n`,
  );
});
