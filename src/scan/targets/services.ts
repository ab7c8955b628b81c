/**
 * The system's services database (services(5), usually /etc/services), from its text: names to TCP ports and back.
 *
 * The caller reads the file. Only entries of protocol `tcp` count: another protocol's entry says nothing about a TCP port.
 */

export interface Services {
  /** The port of a name or alias, case-sensitive as getservbyname(3) is; undefined when no tcp entry has it. */
  portOf(name: string): number | undefined;
  /** The official name (never an alias) of the first tcp entry for a port; undefined when there is none. */
  nameOf(port: number): string | undefined;
  /** All names and aliases, for "did you mean". */
  names(): Iterable<string>;
}

/** A line's name, its port, and the rest with its aliases. */
const TCP_ENTRY = /^[^\S\n]*([^\s#]+)[^\S\n]+(\d{1,5})\/tcp(?![^\s#])([^\n#]*)/gm;

/**
 * Parses a services database: one `name port/protocol alias…` a line, `#` to the end of a line is a comment.
 * The first entry wins, as in getservbyname(3). Other lines, and ports outside 1-65535, are skipped;
 * nothing is an error.
 */
export function parseServices(text: string): Services {
  const ports = new Map<string, number>();
  const names = new Map<number, string>();
  for (const [, name, digits, rest] of text.matchAll(TCP_ENTRY)) {
    const port = Number(digits);
    if (port < 1 || port > 65535) continue;
    if (!names.has(port)) names.set(port, name);
    for (const known of [name, ...(rest.match(/\S+/g) ?? [])]) {
      if (!ports.has(known)) ports.set(known, port);
    }
  }
  return {
    portOf: (name) => ports.get(name),
    nameOf: (port) => names.get(port),
    names: () => ports.keys(),
  };
}
