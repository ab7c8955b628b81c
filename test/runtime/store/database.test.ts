/** The store's file: what is opened, what is refused and in which words, and that the documented tables are there. */
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { isSqlite, openStore } from "../../../src/runtime/store/database.ts";
import { MIGRATIONS } from "../../../src/runtime/store/schema.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "synprobe-store-"));
});
afterEach(() => rmSync(folder, { recursive: true }));
const path = (name: string): string => join(folder, name);

describe("a store", () => {
  it("is made where there is none, and opened again as it is", () => {
    const store = openStore(path("h.db"), true);
    store.prepare("INSERT INTO hosts (ip) VALUES (?)").run("192.0.2.1");
    store.close();
    expect(isSqlite(path("h.db"))).toBe(true);
    const again = openStore(path("h.db"), false);
    expect(again.prepare("SELECT ip FROM hosts").all()).toEqual([{ ip: "192.0.2.1" }]);
    expect(again.prepare("PRAGMA user_version").get()).toMatchObject({ user_version: MIGRATIONS.length });
    // FULL: a commit is synced.
    expect(again.prepare("PRAGMA synchronous").get()).toMatchObject({ synchronous: 2 });
    again.close();
  });

  it("of an older version is brought up to date, with what is in it", () => {
    // Version 0 is an empty database: what a program that was killed before its first transaction has left.
    const old = openStore(path("h.db"), true);
    for (const { name, type } of old
      .prepare(
        "SELECT name, type FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY type = 'table'",
      )
      .all())
      old.prepare(`DROP ${type} IF EXISTS ${name}`).run();
    old.prepare("PRAGMA user_version = 0").run();
    old.close();
    const store = openStore(path("h.db"), true);
    expect(store.prepare("SELECT count(*) AS n FROM history").get()).toMatchObject({ n: 0 });
    store.close();
  });

  it("that is damaged says so, wherever that shows", () => {
    const store = openStore(path("h.db"), true);
    const add = store.prepare("INSERT INTO hosts (ip) VALUES (?)");
    store.transaction(() => {
      for (let i = 0; i < 5000; i++) add.run(`192.0.2.${i}`);
    });
    store.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get();
    store.close();
    const bytes = readFileSync(path("h.db"));
    writeFileSync(path("h.db"), bytes.fill(0xff, bytes.length / 2));
    const damaged = openStore(path("h.db"), false);
    const rows = damaged.prepare("SELECT * FROM hosts ORDER BY id").iterate();
    let read = 0;
    expect(() => {
      for (const _ of rows) read++;
    }).toThrow(
      expect.objectContaining({ code: "ERR_STORE", message: expect.stringContaining("it is damaged") }),
    );
    expect(read).toBeGreaterThan(0);
    damaged.close();
  });

  it("that was read by the process, or is read again, while it has it open keeps its log from others, who would take it away with what is in it", () => {
    const before = openStore(path("h.db"), true);
    before.prepare("SELECT * FROM hosts").all();
    before.close();
    const store = openStore(path("h.db"), true);
    const add = store.prepare("INSERT INTO hosts (ip) VALUES (?)");
    store.transaction(() => add.run("192.0.2.1"));
    expect(isSqlite(path("h.db"))).toBe(true);
    openStore(path("h.db"), false).close();
    const other = `const d = new (require("libsql"))(process.argv[1]); d.prepare("SELECT * FROM hosts").all(); d.close()`;
    execFileSync(process.execPath, ["-e", other, path("h.db")]);
    store.transaction(() => add.run("192.0.2.2"));
    const seen = `const d = new (require("libsql"))(process.argv[1]); console.log(d.prepare("SELECT * FROM hosts").all().length)`;
    expect(execFileSync(process.execPath, ["-e", seen, path("h.db")], { encoding: "utf8" })).toBe("2\n");
    store.close();
  });

  it("that is removed, or replaced, while it is open takes nothing more, and says so", () => {
    for (const replaced of [false, true]) {
      const store = openStore(path("h.db"), true);
      store.transaction(() => store.prepare("INSERT INTO hosts (ip) VALUES (?)").run("192.0.2.1"));
      rmSync(path("h.db"));
      if (replaced) openStore(path("h.db"), true).close();
      expect(() => store.transaction(() => {})).toThrow(
        /h\.db has been moved, removed or replaced since it was/,
      );
      store.close();
      rmSync(path("h.db"), { force: true });
    }
  });

  it("of a later version is refused, not spoilt", () => {
    const store = openStore(path("h.db"), true);
    store.prepare("PRAGMA user_version = 99").run();
    store.close();
    expect(() => openStore(path("h.db"), true)).toThrow(/was written by a later version of synprobe/);
  });

  it.each([
    ["there is none", "none.db", /there is no store .*none\.db: --store on a scan/],
    ["it is another file", "text", /text is no store of synprobe/],
    ["it is a directory", "", /cannot open the store .*: it is a directory/],
    ["it is a pipe", "pipe", /cannot open the store .*: it is a pipe or a device, and no file/],
    ["it is a link to itself", "loop", /cannot open the store .*: it is a symbolic link to itself/],
    ["its directory is missing", "no/h.db", /there is no store/],
  ])("is refused where %s", (_, name, message) => {
    writeFileSync(path("text"), "22,80\n");
    symlinkSync("loop", path("loop"));
    execFileSync("mkfifo", [path("pipe")]);
    expect(() => openStore(path(name), name === "")).toThrow(message);
    expect(() => openStore(path(name), name === "")).toThrow(expect.objectContaining({ code: "ERR_STORE" }));
  });

  it("that is another program's database is refused", () => {
    const store = openStore(path("h.db"), true);
    store.prepare("PRAGMA application_id = 1").run();
    store.close();
    expect(() => openStore(path("h.db"), true)).toThrow(/is a database of another program/);
  });

  it("does all of a transaction or nothing", () => {
    const store = openStore(path("h.db"), true);
    const add = store.prepare("INSERT INTO hosts (ip) VALUES (?)");
    expect(() =>
      store.transaction(() => {
        add.run("192.0.2.1");
        add.run("192.0.2.1");
      }),
    ).toThrow(expect.objectContaining({ code: "ERR_STORE" }));
    expect(store.prepare("SELECT * FROM hosts").all()).toEqual([]);
    store.close();
  });

  it("keeps no descriptor of a store whose place another has taken", () => {
    const held = () =>
      readdirSync("/proc/self/fd").filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`) === `${path("h.db")} (deleted)` && !mayWrite(fd);
        } catch {
          return false;
        }
      });
    const mayWrite = (fd: string) =>
      !/^flags:\s+0?[0-7]*0$/m.test(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"));
    openStore(path("base.db"), true).close();
    for (let i = 0; i < 5; i++) {
      copyFileSync(path("base.db"), path("new.db"));
      renameSync(path("new.db"), path("h.db"));
      openStore(path("h.db"), false).close();
    }
    expect(held()).toEqual([]);
  });
});
