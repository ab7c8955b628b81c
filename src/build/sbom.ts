/**
 * Part of the packing: `node --import tsx src/build/sbom.ts` writes dist/sbom.cdx.json, a software bill of materials (CycloneDX, by
 * npm itself, from the lock file). It lists what the package depends on, and what is built into it. Without its serial number and time, which
 * npm makes up anew each time: the same sources make the same package, to the byte.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Packages for development that are built into what is shipped: the charts of `report`'s page, the queue of a fleet. */
const BUILT_IN = ["bullmq", "echarts", "ioredis"];

interface Component {
  readonly "bom-ref": string;
  readonly name: string;
}

interface Bill {
  serialNumber?: string;
  readonly metadata: {
    timestamp?: string;
    readonly component: { "bom-ref": string; name: string; type: string };
  };
  components: readonly Component[];
  dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

const manifest: { readonly name: string; readonly devDependencies: Readonly<Record<string, string>> } =
  JSON.parse(readFileSync(`${ROOT}package.json`, "utf8"));
const bill: Bill = JSON.parse(
  execFileSync("npm", ["sbom", "--sbom-format", "cyclonedx", "--package-lock-only"], {
    cwd: ROOT,
    encoding: "utf8",
    maxBuffer: 1 << 26,
  }),
);

const top = bill.metadata.component;
const nameOf = new Map(bill.components.map((component) => [component["bom-ref"], component.name]));
const needs = new Map(bill.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
const isShipped = (ref: string): boolean => {
  const name = nameOf.get(ref) ?? "";
  return !(name in manifest.devDependencies) || BUILT_IN.includes(name);
};
const kept = new Set([top["bom-ref"]]);
for (const ref of kept) for (const each of (needs.get(ref) ?? []).filter(isShipped)) kept.add(each);

delete bill.serialNumber;
delete bill.metadata.timestamp;
// npm takes the folder's name, which is anybody's.
top.name = manifest.name;
top.type = "application";
bill.components = bill.components.filter((component) => kept.has(component["bom-ref"]));
bill.dependencies = bill.dependencies
  .filter(({ ref }) => kept.has(ref))
  .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((each) => kept.has(each)) }));
writeFileSync(`${ROOT}dist/sbom.cdx.json`, `${JSON.stringify(bill, null, 2)}\n`);
