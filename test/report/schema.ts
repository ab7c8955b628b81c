/** NDJSON lines against the schema that the package publishes. */
import { createRequire } from "node:module";
import { Ajv2020 } from "ajv/dist/2020.js";

// As its users would have it: by the package's name.
const schema = createRequire(import.meta.url)("synprobe/ndjson.schema.json");
// The pattern beside it says the same of a time.
const validate = new Ajv2020({ strict: true, formats: { "date-time": true } }).compile(schema);

/** What the schema has to say against these lines; nothing, it is hoped. */
export function schemaErrors(ndjson: string): string[] {
  if (!ndjson.endsWith("\n")) return ["the last line has no end"];
  return ndjson
    .slice(0, -1)
    .split("\n")
    .flatMap((line) => (validate(JSON.parse(line)) ? [] : [`${line}: ${JSON.stringify(validate.errors)}`]));
}
