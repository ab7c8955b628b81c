/**
 * Options of a fleet: those of the main command, and what `synprobe worker` alone takes. Options that a worker shares with the main
 * command are in the table (table.ts). Tested by test/lab/fleet.test.ts and test/cli/commands/fleet.test.ts.
 */
import { BOUNDS } from "../../runtime/api/option-bounds.ts";
import { duration } from "./arguments.ts";
import { inGroup, usage } from "./spec.ts";

/** A vantage as people may type it, and as it may stand in keys and names. */
const vantage = (name: string) => {
  const refusal = (text: string): string =>
    `${name} takes a name of letters, digits and "-", such as fra, not "${text}"`;
  return {
    refusal,
    parse: (text: string): string => {
      if (/^[a-z0-9][a-z0-9-]{0,30}$/i.test(text)) return text;
      throw usage(refusal(text));
    },
  };
};

/** Places in bits of a number. */
const MOST_PLACES = 8;

function parsePlaces(text: string): readonly string[] {
  const places = text.split(",").map(vantage("--from").parse);
  const twice = places.find((place, i) => places.indexOf(place) < i);
  if (twice !== undefined) throw usage(`--from names ${twice} twice`);
  checkPlaces(places, "--from");
  return places;
}

/** @param whose what names them. @throws {SynprobeError} `ERR_USAGE` when they are too many */
export function checkPlaces({ length }: readonly string[], whose: string): void {
  if (length > MOST_PLACES)
    throw usage(`${whose} names ${length} places: a run probes from ${MOST_PLACES} at most`);
}

export const FLEET_OPTIONS = inGroup("Order", [
  {
    flags: "--fleet <url>",
    description: "probe from the workers at this Redis; without a URL, at that of SYNPROBE_FLEET",
    oneRun: "whether a run is a fleet's is decided run by run; SYNPROBE_FLEET keeps the URL",
    bare: "env",
    looksLike: /^(rediss?|unix):/,
  },
  {
    flags: "--from <vantages>",
    needs: ["--fleet"],
    description: "with --fleet: only from workers of these vantages, everything from each (comma-separated)",
    refusal: vantage("--from").refusal,
    parse: parsePlaces,
    commas: true,
  },
  {
    flags: "--fleet-key <file>",
    needs: ["--fleet"],
    description: "with --fleet: sign work and results with what is in this file",
  },
  {
    flags: "--fleet-lease <time>",
    needs: ["--fleet"],
    description: "with --fleet: a worker that is silent for so long loses its cell (30s); in seconds",
    ...duration("--fleet-lease", BOUNDS.leaseMs, "s"),
  },
]);

export const WORKER_OPTIONS = inGroup("Order", [
  {
    flags: "--allow <targets>",
    description: "networks that may be probed, and no others (comma-separated, repeatable)",
    values: "targets",
    commas: true,
    repeatable: true,
  },
  {
    flags: "--vantage <name>",
    description: "what the place is called, for --from; by default the host's name",
    ...vantage("--vantage"),
  },
]);
