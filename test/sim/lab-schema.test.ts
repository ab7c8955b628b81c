/** The JSON Schema of lab descriptions, for editors: made from the schema that checks them. `vitest -u` writes it anew. */
import { toJsonSchema } from "@valibot/to-json-schema";
import { Ajv } from "ajv";
import { describe, expect, it } from "vitest";
import { DEFAULT_DESCRIPTION } from "../../src/lab/default-description.ts";
import { LAB_DESCRIPTION } from "../../src/lab/description.ts";

// What a grammar decides, such as what is a range of addresses, JSON Schema cannot say.
const schema = {
  title: "A lab of synprobe",
  ...toJsonSchema(LAB_DESCRIPTION, { typeMode: "output", errorMode: "ignore" }),
};

describe("lab.schema.json", () => {
  it("says what the schema says", async () => {
    await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot("../../src/lab/lab.schema.json");
  });

  const validate = new Ajv({ strict: true }).compile(JSON.parse(JSON.stringify(schema)));
  it.each<[value: unknown, at: string | undefined]>([
    [DEFAULT_DESCRIPTION, undefined],
    [{ $schema: "lab.schema.json", hosts: [] }, undefined],
    [{}, ""],
    [[], ""],
    [{ hosts: [], sed: 1 }, ""],
    [{ hosts: [{ range: "198.18.0.1", rest: "opne" }] }, "/hosts/0/rest"],
    [{ hosts: [], path: { in: { loss: 2 } } }, "/path/in/loss"],
    [{ hosts: [], seed: 1.5 }, "/seed"],
  ])("judges %.60j", (value, at) => {
    expect(validate(value)).toBe(at === undefined);
    expect(validate.errors?.[0].instancePath).toBe(at);
  });
});
