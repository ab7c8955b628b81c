/**
 * What `synprobe watch --metrics` serves, scraped by a real Prometheus; the queries of the Grafana dashboard in the package, asked of
 * that: each is understood and has an answer.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT, type Running, start, synprobe } from "../cli/process.ts";
import { ALL } from "../everyday.ts";
import { command, createLab, FAR, inNamespace, type Lab, labProblem, skipping } from "./netns.ts";

const problem = (): string | undefined => {
  if (!ALL) return "only in test:all and test:more";
  try {
    command(["sh", "-c", "command -v prometheus && command -v promtool && command -v curl"]);
    return labProblem();
  } catch {
    return "prometheus or curl is not installed";
  }
};

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly targets: readonly { readonly expr: string }[];
  }[];
}
const DASHBOARD: Dashboard = JSON.parse(
  readFileSync(join(ROOT, "src/runtime/watch/grafana-dashboard.json"), "utf8"),
);
/** As Grafana fills it in. */
const QUERIES = DASHBOARD.panels.flatMap(({ title, targets }) =>
  targets.map(({ expr }) => [title, expr.replaceAll("$__rate_interval", "1m")] as const),
);
/** Nothing of it has happened in the lab. */
const MAY_BE_EMPTY = /ending!=|outcome!=|state="open"/;

describe.skipIf(skipping("a real Prometheus scraping a watch", problem()))("Prometheus", () => {
  let lab: Lab;
  let folder = "";
  const running: Running[] = [];
  const ask = (path: string): string =>
    command(inNamespace(lab.near, ["curl", "-sf", "--globoff", `http://127.0.0.1:9090${path}`]));
  const query = (
    expr: string,
  ): { readonly status: string; readonly data: { readonly result: readonly unknown[] } } =>
    JSON.parse(ask(`/api/v1/query?query=${encodeURIComponent(expr)}`));

  /** Asks until the answer is what it should be, or fails with the last one. */
  async function eventually(look: () => void): Promise<void> {
    for (const started = performance.now(); ; ) {
      try {
        return look();
      } catch (error) {
        if (performance.now() - started > 50_000) throw error;
        await new Promise((done) => setTimeout(done, 250));
      }
    }
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "synprobe-prometheus-"));
    lab = createLab();
    const watch = start(
      inNamespace(
        lab.near,
        synprobe(
          "watch",
          FAR.ipv4,
          "-p",
          "7001-7005",
          "--every",
          "1s",
          "--metrics",
          "127.0.0.1:9464",
          "--store",
          join(folder, "h.db"),
        ),
      ),
      { limitMs: 100_000 },
    );
    running.push(watch);
    await watch.until("stderr", /metrics at/);
    writeFileSync(
      join(folder, "prometheus.yml"),
      "scrape_configs:\n  - job_name: synprobe\n    scrape_interval: 1s\n    static_configs:\n      - targets: ['127.0.0.1:9464']\n",
    );
    const prometheus = start(
      inNamespace(lab.near, [
        "prometheus",
        `--config.file=${join(folder, "prometheus.yml")}`,
        `--storage.tsdb.path=${join(folder, "data")}`,
        "--web.listen-address=127.0.0.1:9090",
      ]),
      { limitMs: 100_000 },
    );
    running.push(prometheus);
    await prometheus.until("stderr", /Server is ready to receive web requests/);
    await eventually(() => expect(query("synprobe_ports").data.result).not.toEqual([]));
  }, 120_000);
  afterAll(async () => {
    for (const each of running) each.kill("SIGKILL");
    await Promise.all(running.map(({ finished }) => finished));
    lab.remove();
    rmSync(folder, { recursive: true });
  });

  it("finds nothing to complain of in names, types and help", () => {
    const metrics = command(inNamespace(lab.near, ["curl", "-sf", "http://127.0.0.1:9464/metrics"]));
    expect(command(["promtool", "check", "metrics"], metrics)).toBe("");
  });

  it("knows each port's state", async () => {
    await eventually(() =>
      expect(query('synprobe_port_state{port="7001"}').data.result).toEqual([
        {
          metric: expect.objectContaining({ ip: FAR.ipv4, state: "closed", reason: "reset" }),
          value: [expect.any(Number), "1"],
        },
      ]),
    );
  });

  it.each(QUERIES)("answers the dashboard's query of %s: %s", async (_, expr) => {
    await eventually(() => {
      const { status, data } = query(expr);
      expect(status).toBe("success");
      if (!MAY_BE_EMPTY.test(expr)) expect(data.result).not.toEqual([]);
    });
  });
});
