/** The lab without a file: a host of every kind, and many ordinary ones. */
import type { HostDescription, LabDescription, MixDescription } from "./description.ts";

/** One host of each kind, at the same last part of the address in IPv4 and IPv6. */
const CAST: readonly (HostDescription & { readonly at: number })[] = [
  {
    // One port of every service.
    at: 1,
    ports: [
      { ports: "7", is: "open", service: "echo" },
      { ports: "9", is: "open", service: "discard" },
      { ports: "13", is: "open", service: "close" },
      { ports: "19", is: "open", service: "reset" },
      { ports: "21", is: "open", banner: "220 lab FTP ready\r\n" },
      { ports: "22", is: "open", banner: "SSH-2.0-lab\r\n" },
      { ports: "80,8080", is: "open", service: "http" },
      { ports: "23", is: "silent" },
      { ports: "25", is: "admin-prohibited" },
    ],
  },
  // A firewall that drops, one that rejects, and one whose router speaks for it.
  { at: 2, ports: [{ ports: "80,443", is: "open", service: "http" }], rest: "silent" },
  { at: 3, ports: [{ ports: "80", is: "open", service: "http" }], rest: "admin-prohibited" },
  { at: 5, tarpit: true },
  // Far away, over a path that loses packets.
  {
    at: 6,
    ports: [{ ports: "22", is: "open", banner: "SSH-2.0-far\r\n" }],
    path: { latencyMs: 150, jitterMs: 40, loss: 0.1 },
  },
  // Sends ten RSTs a second, as some stacks do.
  { at: 7, ports: [{ ports: "80", is: "open", service: "http" }], rstLimit: { ratePps: 10 } },
  { at: 8, rest: "silent" },
];

/** Behind eight routers, of which one is silent and one stops two ports. */
const FAR_AWAY: HostDescription = {
  ports: [{ ports: "80,443,445", is: "open", service: "http" }],
  rest: "silent",
  path: {
    latencyMs: 0.1,
    jitterMs: 0,
    hops: [
      { latencyMs: 0.1 },
      { latencyMs: 0.4 },
      { latencyMs: 0.8 },
      { latencyMs: 0.5, silent: true },
      { latencyMs: 0.5, mplsLabel: 16_005 },
      {
        latencyMs: 0.4,
        rules: [
          { ports: "445", does: "drop" },
          { ports: "80", does: "reset" },
        ],
      },
      { latencyMs: 0.4 },
      { latencyMs: 0.4 },
    ],
  },
};

const ORDINARY: HostDescription & { readonly mix: readonly MixDescription[] } = {
  ports: [
    { share: 0.01, is: "open", service: "http" },
    { share: 0.01, is: "open", banner: "220 lab ready\r\n" },
    { share: 0.01, is: "open", service: "echo" },
    { share: 0.02, is: "silent" },
  ],
  mix: [
    { share: 0.2, ports: [], rest: "silent" },
    { share: 0.05, rest: "admin-prohibited", icmpLimit: { ratePps: 1000, burst: 50 } },
    { share: 0.02, tarpit: true },
  ],
};

/** A host of every kind at 198.18.0.1-8 and 2001:db8:18::1-8, among ordinary ones in 198.18.0.0/15 and 2001:db8:18::/64. At 198.18.9.9 and 2001:db8:18::99 is one behind routers. */
export const DEFAULT_DESCRIPTION: LabDescription = {
  seed: 1,
  path: { latencyMs: 5, jitterMs: 1 },
  hosts: [
    { range: "198.18.0.0/15", ...ORDINARY },
    { range: "2001:db8:18::/64", ...ORDINARY },
    ...CAST.map(({ at, ...host }) => ({ range: `198.18.0.${at}`, ...host })),
    ...CAST.map(({ at, ...host }) => ({ range: `2001:db8:18::${at}`, ...host })),
    { range: "198.18.9.9", ...FAR_AWAY },
    { range: "2001:db8:18::99", ...FAR_AWAY },
    { range: "198.18.0.4", rest: "host-unreach", rejectFrom: "198.18.0.254" },
    { range: "2001:db8:18::4", rest: "addr-unreach", rejectFrom: "2001:db8:18::fe" },
  ],
};
