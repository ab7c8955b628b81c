/** The JSON Schema of configurations, for editors: made from the schema that checks them. `vitest -u` writes it anew. */
import { toJsonSchema } from "@valibot/to-json-schema";
import { Ajv } from "ajv";
import { describe, expect, it } from "vitest";
import { configurationSchema } from "../../../src/cli/options/config-schema.ts";
import { PROBE_OPTIONS, whyOneRun } from "../../../src/cli/options/table.ts";

const schema = { title: "A configuration of synprobe", ...toJsonSchema(configurationSchema()) };

describe("config.schema.json", () => {
  it("says what the schema says", async () => {
    await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(
      "../../../src/cli/options/config.schema.json",
    );
  });

  it("has every option that a configuration may set, described as in help, and no other", () => {
    const settable = PROBE_OPTIONS.filter((spec) => whyOneRun(spec) === undefined);
    const { $schema, ...properties } = schema.properties ?? {};
    expect($schema).toMatchObject({ type: "string" });
    const described = Object.entries(properties).map(([key, value]) => [
      `--${key}`,
      typeof value === "object" ? value.description : undefined,
    ]);
    expect(described).toEqual(
      settable.map(({ flags, description }) => [/--[\w-]+/.exec(flags)?.[0], description]),
    );
  });

  const validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(
    JSON.parse(JSON.stringify(schema)),
  );
  it.each<[value: unknown, fits: boolean]>([
    [{ $schema: "config.schema.json", ttl: 10, timeout: "2s", retries: "5", banner: true, ipv4: true }, true],
    [{ exclude: ["a", "b"], "exclude-ports": [2, "80-90"], ports: 22, link: "raw", timing: "polite" }, true],
    [{ ttl: 300 }, false],
    [{ ttl: 1.5 }, false],
    [{ confidence: 0.4 }, false],
    [{ link: "wire" }, false],
    [{ exclude: [] }, false],
    [{ verbose: 1 }, false],
    [{ journal: "x" }, false],
    [{ "max-rat": 3 }, false],
  ])("judges %j", (value, fits) => {
    expect(validate(value)).toBe(fits);
  });
});
