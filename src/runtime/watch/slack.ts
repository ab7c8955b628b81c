/**
 * A round's events as one message for people, in Slack's text: a line for all ports of a host of which the same is to be said. Not
 * here: how it is posted (deliver.ts).
 */
import type { ToldEvent } from "./events.ts";

/** Lines of a message, and ports of a line, at most; what is left out is counted. */
const MOST_LINES = 30;
const MOST_PORTS = 20;

/** https://api.slack.com/reference/surfaces/formatting#escaping */
const escapeText = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** What is said of ports, in the singular or plural. */
function said({ type, old, new: now, policy, why }: ToldEvent, isOne: boolean): string {
  const [are, have, were, it] = isOne ? ["is", "has", "was", "it"] : ["are", "have", "were", "they"];
  switch (type) {
    case "changed":
      return `${are} ${now.state} (${now.reason}), ${were} ${old.state}`;
    case "flapping":
      return `${are} flapping: ${now.state} (${now.reason}) now, ${were} ${old.state}; no more of it until ${it} settle${isOne ? "s" : ""}`;
    case "settled":
      return `${have} settled: ${now.state} (${now.reason})`;
    case "violation":
      return `${are} ${now.state} (${now.reason}), and should be ${policy?.expected} (${policy?.rule})`;
    case "restored":
      return why === undefined
        ? `${are} ${now.state} (${now.reason}) again, as ${it} should be`
        : `${are} ${why}: what was wrong with ${isOne ? "it" : "them"} is over`;
  }
}

const portOf = ({ port, service }: ToldEvent): string =>
  `${port}${service === undefined ? "" : ` ${service}`}`;

/** The text, escaped. @param events at least one */
export function slackText(events: readonly ToldEvent[]): string {
  const lines = new Map<string, ToldEvent[]>();
  for (const event of events) {
    const alike = JSON.stringify([event.ip, event.host, said(event, true)]);
    const line = lines.get(alike);
    if (line === undefined) lines.set(alike, [event]);
    else line.push(event);
  }
  const texts = [...lines.values()].slice(0, MOST_LINES).map((alike) => {
    const [{ ip, host }] = alike;
    const isOne = alike.length === 1;
    const ports = alike.slice(0, MOST_PORTS).map(portOf).join(", ");
    const more = alike.length > MOST_PORTS ? ` and ${alike.length - MOST_PORTS} more` : "";
    const doubt = Math.max(...alike.map((event) => event.doubt));
    const place = `${host === undefined ? ip : `${host} (${ip})`} ${isOne ? "port" : `${alike.length} ports:`} ${ports}${more}`;
    return `${place} ${said(alike[0], isOne)}${doubt > 0 ? `; doubt ${doubt.toPrecision(1)}` : ""}`;
  });
  if (lines.size > MOST_LINES) texts.push(`and ${lines.size - MOST_LINES} lines more`);
  return escapeText(texts.join("\n"));
}
