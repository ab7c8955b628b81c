/**
 * `synprobe completion`: what real shells make of the scripts. Each is given the same beginnings of command lines, and says
 * what could follow.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TOPIC_NAMES } from "../../../src/cli/help/topics.ts";
import { COMMANDS } from "../../../src/cli/options/table.ts";
import { skipping } from "../../lab/netns.ts";
import { run, synprobe } from "../process.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;
const STATES = ["all", "closed", "filtered", "open"];

/** The line as far as it is typed, and all that can follow, in the order of the alphabet. */
type Case = readonly [line: string, follows: readonly string[]];
const CASES: readonly Case[] = [
  ["synprobe --sh", ["--shard", "--shards", "--show", "--show-files"]],
  ["synprobe 127.0.0.1:1 --pac", ["--packet-trace"]],
  ["synprobe --link pack", ["packet"]],
  ["synprobe --link ", ["auto", "connect", "packet", "raw", "syn"]],
  ["synprobe --show ", STATES],
  ["synprobe -T ", ["0", "1", "2", "3", "4", "5"]],
  ["synprobe -e ", readdirSync("/sys/class/net").sort()],
  ["synprobe -oJ fil", ["file one", "file.two"]],
  ["synprobe --output-xml file.", ["file.two"]],
  ["synprobe -p ", []],
  ["synprobe --retries 3 tr", ["trace"]],
  ["synprobe ", [...COMMANDS].sort()],
  ["synprobe trace --ha", ["--half-open"]],
  ["synprobe trace --pcap fil", ["file one", "file.two"]],
  ["synprobe trace --sh", []],
  ["synprobe lab fil", ["file one", "file.two"]],
  ["synprobe help ", [...TOPIC_NAMES, ...COMMANDS].sort()],
  ["synprobe completion ", ["bash", "fish", "zsh"]],
];

/** Why a shell cannot be asked; undefined when it can. */
const missing = (shell: string): string | undefined =>
  spawnSync(shell, ["-c", "true"]).error === undefined ? undefined : `${shell} is not installed`;

for (const shell of SHELLS) {
  describe.skipIf(skipping(`completion in ${shell}`, missing(shell)))(shell, () => {
    let folder = "";
    let answers: ReadonlyMap<string, readonly string[]> = new Map();

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), "sp-completion-"));
      for (const name of ["file one", "file.two"]) writeFileSync(join(folder, name), "");
      const { stdout } = await run(synprobe("completion", shell));
      writeFileSync(join(folder, ".script"), stdout);
      answers = await ASK[shell](folder);
    }, 60_000);
    afterAll(() => rmSync(folder, { recursive: true }));

    test.each(CASES)("%s", (line, follows) => {
      const found = answers.get(line);
      expect(found).toBeDefined();
      expect([...new Set(found)].sort()).toEqual(follows);
    });

    test("several states with commas between them", () => {
      const found = answers.get("synprobe --show open,cl");
      // zsh completes the last part alone, the others the whole word.
      expect(found).toEqual([shell === "zsh" ? "closed" : "open,closed"]);
    });

    test("the argument after an equals sign", () => {
      const found = answers.get("synprobe --link=p");
      // fish alone takes it for one word.
      expect(found).toEqual([shell === "fish" ? "--link=packet" : "packet"]);
    });
  });
}

const LINES = [...CASES.map(([line]) => line), "synprobe --show open,cl", "synprobe --link=p"];

type Ask = (folder: string) => Promise<ReadonlyMap<string, readonly string[]>>;

/** Each line's answers stand between two marks. */
const MARK = "@@@@@";
/** And, where a terminal is between, the last of them before this. */
const END = "@END@";

function read(stdout: string): ReadonlyMap<string, readonly string[]> {
  const parts = stdout.split(`${MARK}\n`).slice(1);
  return new Map(
    LINES.map((line, i) => [
      line,
      (parts[i] ?? "").split("\n").filter((word) => word !== "" && word !== END),
    ]),
  );
}

async function ask(folder: string, argv: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>> {
  const { status, stdout, stderr } = await run(["env", "-C", folder, `HOME=${folder}`, ...argv], {
    limitMs: 50_000,
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return read(stdout);
}

const ASK: Readonly<Record<"bash" | "zsh" | "fish", Ask>> = {
  bash: (folder) => {
    // The words as readline splits them, where nothing is quoted: at blanks, and around an equals sign.
    const script = `
      source .script
      complete -p synprobe > /dev/null || exit
      for line; do
        echo ${MARK}
        split=\${line//=/ = }
        read -ra COMP_WORDS <<< "$split"
        [[ $line == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
        _synprobe
        ((\${#COMPREPLY[@]} == 0)) || printf '%s\\n' "\${COMPREPLY[@]}"
      done`;
    return ask(folder, ["bash", "--norc", "-c", script, "bash", ...LINES]);
  },
  fish: (folder) => {
    const script = `
      source .script
      for line in $argv
        echo ${MARK}
        complete -C $line | string replace -r '\\t.*' '' | string replace -a '\\\\ ' ' '
        true
      end`;
    return ask(folder, ["fish", "--no-config", "-c", script, ...LINES]);
  },
  zsh: (folder) => {
    // What the completion system is given passes through compadd, which tells what of it matches.
    const inner = `
      PS1= PS2=; unsetopt prompt_cr prompt_sp
      autoload -Uz compinit; compinit -u -D
      source .script
      compadd() {
        local -a got
        if (( ! \${@[(I)-[OAD]]} )); then builtin compadd -O got "$@"; found+=("\${got[@]}"); fi
        builtin compadd "$@"
      }
      report() { found=(); zle list-choices; print; print -rl -- ${MARK} "\${found[@]//\\\\}" ${END}; BUFFER= }
      zle -N report; bindkey '^T' report
      zstyle ':completion:*' list-prompt ''; LISTMAX=100000; LINES=2000; COLUMNS=200
      print rea''dy`;
    writeFileSync(join(folder, ".inner"), inner);
    const outer = `
      zmodload zsh/zpty
      zpty z zsh -f -i
      zpty -w z 'source .inner'
      zpty -r -m z text '*ready*'
      for line; do
        zpty -n -w z "$line"$'\\x14'
        zpty -r -m z text '*${END}*' || exit 1
        text=\${text//$'\\r'/}
        print -r -- ${MARK}
        print -r -- \${text##*${MARK}$'\\n'}
      done
      zpty -d z`;
    return ask(folder, ["zsh", "-f", "-c", outer, "zsh", ...LINES]);
  },
};
