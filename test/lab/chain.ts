/**
 * A chain of six network namespaces, each with a kernel of its own to pass: the prober, four routers, the host.
 *
 *     near ── router 1 ── router 2 ── router 3 ── router 4 ── host
 *
 * The link behind the N-th namespace (from 0) is 198.18.N.0/24 and 2001:db8:N::/64: .1 on its near end, .2 on its far one.
 */
import { command, inNamespace, ip, removeNamespace, sysctl } from "./netns.ts";
import { until } from "./until.ts";

export const ROUTERS = 4;
export const CHAIN_HOST = { ipv4: `198.18.${ROUTERS}.2`, ipv6: `2001:db8:${ROUTERS}::2` } as const;

export interface Chain {
  /** The prober's namespace, the routers' in order, the host's. */
  readonly namespaces: readonly string[];
  /** Address that the ICMP errors of a router, from 1, come from. */
  routerAt(hop: number, family: "ipv4" | "ipv6"): string;
  remove(): void;
}

let made = 0;

/** @param limited whether routers keep the kernel's own limit of ICMP errors: six to one peer, then one a second */
export function createChain(limited: boolean): Chain {
  const name = `sp-${process.pid}-chain${made++}`;
  const namespaces = Array.from({ length: ROUTERS + 2 }, (_, i) => `${name}-${i}`);
  const remove = (): void => {
    process.off("exit", remove);
    for (const namespace of namespaces) removeNamespace(namespace);
  };
  process.on("exit", remove);
  try {
    build(namespaces, limited);
  } catch (error) {
    remove();
    throw error;
  }
  return {
    namespaces,
    routerAt: (hop, family) =>
      family === "ipv4" ? `198.18.${hop - 1}.2` : hop === 1 ? "2001:db8::2" : `2001:db8:${hop - 1}::2`,
    remove,
  };
}

function build(namespaces: readonly string[], limited: boolean): void {
  for (const namespace of namespaces) {
    command(["ip", "netns", "add", namespace]);
    sysctl(namespace, {
      "net/ipv6/conf/all/accept_dad": 0,
      "net/ipv6/conf/default/accept_dad": 0,
      "net/ipv4/conf/all/send_redirects": 0,
      "net/ipv4/conf/default/send_redirects": 0,
      "net/ipv4/ip_forward": 1,
      "net/ipv6/conf/all/forwarding": 1,
      ...(limited ? {} : { "net/ipv4/icmp_ratelimit": 0, "net/ipv6/icmp/ratelimit": 0 }),
    });
  }
  const last = namespaces.length - 1;
  for (let i = 0; i < last; i++) {
    const [near, far] = [namespaces[i], namespaces[i + 1]];
    command(["ip", "link", "add", "out", "netns", near, "type", "veth", "peer", "name", "in", "netns", far]);
  }
  namespaces.forEach((namespace, i) => {
    ip(
      namespace,
      "link set lo up",
      ...(i < last
        ? [
            `addr add 198.18.${i}.1/24 dev out`,
            `addr add 2001:db8:${i}::1/64 dev out nodad`,
            "link set out up",
          ]
        : []),
      ...(i > 0
        ? [
            `addr add 198.18.${i - 1}.2/24 dev in`,
            `addr add 2001:db8:${i - 1}::2/64 dev in nodad`,
            "link set in up",
          ]
        : []),
    );
  });
  until(() => namespaces.every(isUp), "the chain to come up");
  namespaces.forEach((namespace, i) => {
    ip(
      namespace,
      ...(i < last ? [`route add default via 198.18.${i}.2`, `route add ::/0 via 2001:db8:${i}::2`] : []),
      ...(i > 1
        ? [
            `route add 198.18.0.0/24 via 198.18.${i - 1}.1`,
            `route add 2001:db8:0::/64 via 2001:db8:${i - 1}::1`,
          ]
        : []),
    );
  });
}

/** True when every link of a namespace has carrier, and no address of it is still tentative. */
const isUp = (namespace: string): boolean => {
  const shown = command(["ip", "-n", namespace, "addr", "show", "up"]);
  return !/\btentative\b|NO-CARRIER|state DOWN|state LOWERLAYERDOWN/.test(shown);
};

/** Puts rules before what a namespace forwards, or what comes in at all. */
export function rulesAt(
  namespace: string,
  hook: "forward" | "prerouting" | "input",
  rules: readonly string[],
): void {
  const chain = [`type filter hook ${hook} priority -310`, ...rules].map((rule) => `  ${rule}\n`);
  command(
    inNamespace(namespace, ["nft", "-f", "-"]),
    `table inet chain_${hook} {\n chain ${hook} {\n${chain.join("")} }\n}\n`,
  );
}
