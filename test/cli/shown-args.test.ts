/** No secret of a command line is shown. */
import { expect, it } from "vitest";
import { shownArgs } from "../../src/cli/shown-args.ts";

it.each([
  [
    ["--fleet", "redis://me:s3cret@host:6379/1"],
    ["--fleet", "redis://me:…@host:6379/1"],
  ],
  [
    ["--fleet=rediss://:s3:cr@et@host", "-v"],
    ["--fleet=rediss://:…@host", "-v"],
  ],
  [
    ["--webhook", "https://hooks.example/T0/s3cret", "-v"],
    ["--webhook", "…", "-v"],
  ],
  [["--webhook=https://hooks.example/s3cret"], ["--webhook=…"]],
  [["redis://a:s3cret@host,redis://b:s3cret@host"], ["redis://a:…@host,redis://b:…@host"]],
])("%j as %j", (argv, shown) => {
  expect(shownArgs(argv)).toEqual(shown);
});

it("shows what is no secret as it is", () => {
  const argv = [
    "198.18.0.1:22",
    "2001:db8::1",
    "[2001:db8::1]:22",
    "--fleet",
    "redis://me@host:6379",
    "-oJ",
    "a@b:c",
  ];
  expect(shownArgs([...argv, "unix:///run/a:b@c"])).toEqual([...argv, "unix:///run/a:b@c"]);
});
