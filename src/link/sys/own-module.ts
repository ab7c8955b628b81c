/**
 * Loads native code from the place that synprobe was installed to, and from nowhere else. Node's own `require` goes on to the
 * folders above, to NODE_PATH, $HOME/.node_modules and $HOME/.node_libraries when a package is missing: whoever can write there
 * would run code with this process's privileges.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** This file; bundled, the bundle's name, which is there without reading a URL. */
const OWN_FILE = typeof __filename === "string" ? __filename : fileURLToPath(import.meta.url);
/** The nearest folder above this file with a package.json. */
let ownFolder = dirname(OWN_FILE);
while (!existsSync(join(ownFolder, "package.json")) && ownFolder !== dirname(ownFolder))
  ownFolder = dirname(ownFolder);

/**
 * Where a package, or a file of one, is: in the package's own node_modules, or beside the package where that lies in a
 * node_modules itself, to which npm moves what several packages share. Undefined when it is in neither.
 */
export function findOwn(name: string, folder = ownFolder): string | undefined {
  const above = dirname(folder);
  const places = [join(folder, "node_modules"), ...(basename(above) === "node_modules" ? [above] : [])];
  return places.map((place) => join(place, name)).find(existsSync);
}

/** @throws {Error} when it is in neither place, or does not load */
export function loadOwn(name: string): unknown {
  const path = findOwn(name);
  if (path === undefined) {
    throw Object.assign(new Error(`${name} is not installed with synprobe`), { code: "MODULE_NOT_FOUND" });
  }
  return createRequire(OWN_FILE)(path);
}
