/** The metrics' server by itself; what it serves of a watch: test/lab/watch.test.ts. */
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { createMetrics, serveMetrics } from "../../../src/runtime/watch/metrics.ts";

describe("the metrics' server", () => {
  it("has a counter of every type of event from the beginning, so that the first one is a rise", async () => {
    const { registry } = createMetrics(10, () => 0);
    const counted = (await registry.metrics()).matchAll(/^synprobe_events_total\{type="(\w+)"\} 0$/gm);
    expect(Array.from(counted, ([, type]) => type).sort()).toEqual([
      "changed",
      "flapping",
      "restored",
      "settled",
      "violation",
    ]);
  });

  it("answers every path that a client may send, and goes on", async () => {
    const metrics = createMetrics(10, () => 0);
    const { server, url } = await serveMetrics({ host: "127.0.0.1", port: 0 }, metrics, () => true);
    const statusOf = async (target: string): Promise<string> => {
      const socket = connect(Number(new URL(url).port), "127.0.0.1");
      socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      return (await text(socket)).split(" ", 2)[1];
    };
    const statuses: string[] = [];
    for (const target of ["//", "http://[", "/healthz?probe=1", "/metrics?", "/"])
      statuses.push(await statusOf(target));
    server.close();
    expect(statuses).toEqual(["404", "404", "200", "200", "404"]);
  });
});
