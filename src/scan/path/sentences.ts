/**
 * What a walk has found, in sentences: one for each port, or for those of which the same is to be said, and one for each thing that was
 * noticed beside.
 */
import { type Address, formatAddress } from "../../wire/address.ts";
import type { PathNote, PathResult, PortPath, Where } from "./result.ts";

/** Below this a hop is simply said; above it the sentence says "probably". */
const PROBABLY = 0.05;

/** Whether nothing but this machine, whose kernel gives up a neighbour with an ICMP error of its own, has told of a port's SYNs. */
export const isUnseen = (where: Where, local: Address): boolean =>
  where.kind === "rejected"
    ? formatAddress(where.by) === formatAddress(local) && where.to > 0
    : where.kind === "unknown" && where.from === 0;

/** What became of every port's SYNs: ports of which the same is to be said share a sentence. */
export function portSentences(result: PathResult): string[] {
  const alike = new Map<string, PortPath[]>();
  for (const path of result.ports) {
    // Where another port is named, each has its own.
    const isOwn = "other" in path.where || path.where.kind === "some-flows";
    const key = isOwn ? `port ${path.port}` : portSentence(result, { ...path, port: 0 });
    const group = alike.get(key);
    if (group === undefined) alike.set(key, [path]);
    else group.push(path);
  }
  return [...alike.values()].map((group) =>
    portSentence(
      result,
      group[0],
      group.map(({ port }) => port),
    ),
  );
}

/** "80", "80 and 443", "80, 443 and 8000-8010": ports in their order. */
function inWords(ports: readonly number[]): string {
  const spans: string[] = [];
  for (let i = 0; i < ports.length; ) {
    let end = i;
    while (end + 1 < ports.length && ports[end + 1] === ports[end] + 1) end++;
    // Two in a row are no shorter as a range.
    if (end < i + 2) end = i;
    spans.push(end === i ? `${ports[i]}` : `${ports[i]}-${ports[end]}`);
    i = end + 1;
  }
  const last = spans.pop() ?? "";
  return spans.length === 0 ? last : `${spans.join(", ")} and ${last}`;
}

/** What became of a port's SYNs. @param ports all of which that is to be said, where there are more */
export function portSentence(result: PathResult, path: PortPath, ports = [path.port]): string {
  const { refused } = path;
  const told = sentenceOf(result, path, ports);
  // Where all were, that is what is told.
  if (refused === undefined || refused.syns === refused.of) return told;
  const each = ports.length === 1 ? "" : " of each";
  return `${told} This machine refused ${refused.syns} of ${refused.of} SYNs${each} (${refused.reason}), as where its firewall limits new connections or its table of them is full.`;
}

function sentenceOf(result: PathResult, path: PortPath, ports: readonly number[]): string {
  const { port, state, reason, where, doubt = 0 } = path;
  const who = inWords(ports);
  const [is, its, answers] = ports.length === 1 ? ["is", "its", "answers"] : ["are", "their", "answer"];
  const at = (hop: number, of = port): string => hopName(result, hop, of);
  const probably = doubt > PROBABLY ? "probably " : "";
  if (result.stuck !== undefined && isUnseen(where, result.local))
    return `${who} ${is} filtered: ${result.stuck}.`;
  const said = doubt > 0 ? ` (doubt ${formatDoubt(doubt)})` : "";
  const far = (hop: number): string =>
    hop === 0 ? `no hop has told of ${its} SYNs` : `${its} SYNs come as far as ${at(hop)}`;
  if (isCutShort(result, path))
    return `Whether ${who} ${answers} is not known: the walk was interrupted. So far ${far(path.seenAt)}.`;
  switch (where.kind) {
    case "host":
      return state === "filtered" ? `${who} ${is} filtered.` : `${who} ${is} ${state} (${reason}).`;
    case "dropped": {
      const { from, to, other } = where;
      const silent = to - from > 1 ? "; what is between them does not answer" : "";
      const goesOn = isShared(result, from, port, other)
        ? `${other} goes on from there, ${port} does not`
        : `${other}, which comes by ${at(from, other)}, goes on to the latter, ${port} does not`;
      return `${port} is filtered, ${probably}between ${at(from)} and ${at(to, other)}: ${goesOn}${said}${silent}.`;
    }
    case "at-host": {
      const { from, other, rstLimit = false } = where;
      const passed =
        from === 0 ? "" : `come as far as ${at(from)}, the last before the host that can be seen, and `;
      if (rstLimit)
        return `${port} is filtered or closed, at the host or just before it: its SYNs ${passed}get no answer, while ${other} does${said}. The host closes other ports, and where it limits its RSTs, a closed port looks the same.`;
      return `${port} is filtered, ${probably}at the host or just before it: its SYNs ${passed}get no answer, while ${other} does${said}. ${from === 0 ? "If the" : "If that hop drops them in place of passing them on, or the"} answers are dropped on their way back, it looks the same.`;
    }
    case "rejected": {
      const { by, self, from, to } = where;
      if (to === 0)
        return `${who} ${is} filtered by this machine, which refuses to send ${its} SYNs: ${reason}.`;
      const address = formatAddress(by);
      if (self) return `${who} ${is} filtered by the host itself: ${reason}.`;
      if (address === formatAddress(result.target))
        return `${who} ${is} filtered in the host's name, ${to} hops away: ${reason}. The address answers for routers too, so that it may be the host, or one of them behind the translator.`;
      if (address === formatAddress(result.local))
        return `${who} ${is} filtered by this machine${/^(host|addr)-unreach$/.test(reason) ? ", which gives up the next hop" : ""}: ${reason}.`;
      // Whoever rejects what the hop before has seen is the next.
      if (to - from <= 1) return `${who} ${is} filtered by hop ${to} (${address}): ${reason}.`;
      return `${who} ${is} filtered by ${address}, between ${at(from)} and hop ${to}: ${reason}.`;
    }
    case "box": {
      const { from, to, beyond, other } = where;
      const box =
        state === "filtered"
          ? `filtered (${reason}), in the host's name,`
          : state === "open"
            ? "answered with a SYN-ACK"
            : "closed with a RST";
      return `${port} is ${box} by a box ${probably}between ${at(from)} and ${at(to, other)}, not by the host: the SYNs of ${other} go on to hop ${beyond}${said}.`;
    }
    case "some-flows": {
      const { from, passed, asked } = where;
      return `${port} is ${state}, but ${asked - passed} of ${asked} flows lose every SYN after ${at(from)}${said}: one of several ways from there loses them, or drops them.`;
    }
    case "unknown":
      if (state !== "filtered")
        return `${who} ${is} ${state} (${reason}), but not each time: ${its} later SYNs get no answer, so that it is not known at which hop. A limit of SYNs or of answers, or loss, looks like that.`;
      if (where.usedUp)
        return `Whether ${who} ${answers} is not known: ${far(where.from)}, where the largest TTL that was sent is used up. --max-hops, or --ttl of a scan, asks further.`;
      return `${who} ${is} filtered: ${far(where.from)}, and no port is answered from beyond. Whether a filter, silent routers or no host at all is there cannot be known; synprobe path --reference PORT compares with a port that is known to answer.`;
  }
}

/** Whether a port's silence means nothing yet, as the walk ended before its tries had. */
export const isCutShort = ({ interrupted }: PathResult, { state, where }: PortPath): boolean =>
  interrupted && state === "filtered" && where.kind !== "rejected";

/** A port of a walk, and what portSentence says of it. */
interface Walked extends Pick<PortPath, "port" | "state" | "reason"> {
  readonly where: Pick<Where, "kind">;
  readonly text: string;
}

/**
 * What became of a port that was filtered before the walk: where the walk's SYNs are answered nevertheless, that is no contradiction,
 * and the sentence says why.
 * @param minimal the options with which SYNs offer as little as a walk's; undefined where those before did
 * @param before why those before were filtered: this machine may have refused to send them
 */
export function filteredSentence(
  { port, state, reason, where: { kind }, text }: Walked,
  minimal: string | undefined,
  before = "no-response",
): string {
  if (state === "filtered") return text;
  if (before.startsWith("send-"))
    return `This machine refused to send the SYN before to ${port} (${before}), and let the walk's go: ${text}`;
  const answered = `${port} answers the walk's SYNs (${state}, ${reason}), where those before were filtered`;
  // Flows that differ say it all.
  if (kind === "some-flows") return `${answered}. ${text}`;
  const why =
    minimal === undefined
      ? "Both offer MSS alone: it answers now and did not then."
      : `The walk's offer less, MSS alone: either SYNs that offer more are dropped, or it answers now and did not then. ${minimal} tells which.`;
  return `${answered}. ${why}${kind === "host" ? "" : ` ${text}`}`;
}

/** What was noticed about the way. */
export function noteSentence(note: PathNote): string {
  switch (note.kind) {
    case "loop":
      return `The way goes in a circle: ${formatAddress(note.address)} is hop ${note.hops.slice(0, 4).join(", ")}${note.hops.length > 4 ? " …" : ""}.`;
    case "nat":
      return `Routers from hop ${note.hop} on see other addresses or ports than were sent: addresses are translated (NAT) before it.`;
    case "behind-host":
      return `The address itself is hop ${note.hop}; ports that are answered later are passed on to a host behind it.`;
    case "dropped-here":
      return `${note.packets} packets came in meanwhile and were dropped inside this machine, most likely by its own firewall: "nft list ruleset" or "iptables -S INPUT" shows the rule.`;
  }
}

/** Whether a router at this hop has answered both ports, or none has told them apart. */
function isShared({ hops }: PathResult, hop: number, port: number, other: number): boolean {
  const answers = hops[hop - 1]?.answers ?? [];
  const [mine, theirs] = [port, other].map((each) => answers.filter(({ ports }) => ports.includes(each)));
  return mine.length === 0 || theirs.length === 0 || mine.some((answer) => theirs.includes(answer));
}

/** "hop 6 (203.0.113.9)", "the host", "this machine". Of several routers at a hop, one that has answered the port, if any has. */
function hopName({ hops, ports, target }: PathResult, hop: number, port: number): string {
  if (hop === 0) return "this machine";
  const answers = hops[hop - 1]?.answers ?? [];
  const answer = answers.find((each) => each.ports.includes(port)) ?? answers[0];
  if (answer !== undefined) return `hop ${hop} (${formatAddress(answer.address)})`;
  const isHost = ports.some(({ where }) => where.kind === "host" && where.hop === hop);
  return isHost ? `the host (${formatAddress(target)})` : `hop ${hop}`;
}

export const formatDoubt = (doubt: number): string =>
  doubt === 0 ? "0" : doubt < 0.0001 ? "< 0.0001" : String(Number(doubt.toPrecision(1)));
