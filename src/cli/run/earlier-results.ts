/**
 * `-iR FILE`: the pairs of an earlier run's results as targets, each by its last state. Bundled apart (build/bundle.ts): the
 * readers are large, and few runs need them.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { createColumn, createPairIndex } from "../../report/read/pair-index.ts";
import type { Planner } from "../../runtime/plan/plan.ts";
import { readRun } from "../../runtime/results/result-files.ts";
import { formatEndpoint, parseAddress } from "../../wire/address.ts";
import type { ProbeOptions } from "../options/probe-options.ts";

/**
 * Adds them to a plan. Protocols other than TCP are left out.
 * @throws {SynprobeError} `ERR_RESULTS` for a file that cannot be read or understood, `ERR_NO_TARGETS` when nothing is left
 */
export async function addResults(
  file: string,
  planner: Planner,
  { drop, only }: Pick<ProbeOptions, "drop" | "only">,
): Promise<void> {
  const pairs = createPairIndex();
  const wanted = createColumn(Uint8Array);
  const zones = new Map<string, string>();
  const ignore = (): void => {};
  await readRun(
    file,
    {
      port: ({ ip, proto, port, state, host }) => {
        if (proto !== "tcp" || port === 0) return;
        // So a link-local address is called that was given with its zone.
        if (host?.startsWith(`${ip}%`) === true) zones.set(ip, host.slice(ip.length + 1));
        const isWanted = only === undefined || only.some((each) => each === state);
        wanted.set(pairs.add(ip, proto, port), isWanted ? 1 : 0);
      },
      progress: ignore,
      fault: ignore,
      scanned: ignore,
      host: ignore,
    },
    drop,
  );
  let added = 0;
  for (let pair = 0; pair < pairs.size(); pair++) {
    const ip = pairs.ips[pairs.hostOf(pair)];
    const address = parseAddress(ip);
    if (wanted.get(pair) === 0 || address === undefined) continue;
    const port = pairs.portOf(pair);
    const zone = zones.get(ip);
    planner.add({
      text: formatEndpoint(ip, port),
      origin: file,
      host: { kind: "address", address, ...(zone === undefined ? {} : { zone }) },
      ports: Uint16Array.of(port),
    });
    added++;
  }
  if (added > 0) return;
  const which = only === undefined ? "" : ` that was ${only.join(" or ")}`;
  throw new SynprobeError(ERROR_CODES.noTargets, `the results ${file} have no TCP port${which}`);
}
