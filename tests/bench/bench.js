// The order of a bench: options, servers up, rounds in turns, tables, verdict. scripts/bench builds
// what it needs and starts it. Exit status 1: a target was missed, or a run failed.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';
import { allowedCores, stopAll, verifyPinned } from './processes.js';
import { kinds, startServer } from './servers.js';
import { doubts, failures, figuresTable, summarize, verdictTable } from './report.js';
import { rowsOf } from './rows.js';

/** Rounds that servers take which no target of a row names. */
const ROUNDS_TO_COMPARE = 3;
const BUDGET_SECONDS = { full: 660, quick: 100 };

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string' },
    rows: { type: 'string', default: '' },
    servers: { type: 'string', default: Object.keys(kinds).join(',') },
    quick: { type: 'boolean', default: false },
    growth: { type: 'boolean', default: false },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

const allRows = rowsOf(options.growth);
const asked = options.servers.split(',');
const rounds = Number(options.rounds ?? (options.quick ? 1 : 7));
const rows = chosenRows();
const names = Object.keys(kinds)
  .filter((name) => rows.some((row) => peersOf(row).includes(name)));

const help = () => `scripts/bench [options]
  --rounds N      rounds to take (7; quick: 1); idle memory takes 1, and servers
                  that no target of a row names take ${ROUNDS_TO_COMPARE}
  --rows PATTERN  only rows whose id matches:
${allRows.map((row) => `                    ${row.id}`).join('\n')}
  --servers LIST  which servers, with commas: ${Object.keys(kinds).join(',')}
  --growth        other rows: how cost grows with members, rooms and connections
  --quick         one round of a quarter of the messages: a look, not a result
  --json FILE     also write every sample to FILE
  --check         does the load generator notice broken servers? Measures nothing
  --help          this text`;

function usage(message) {
  console.error(`bench: ${message}\n${help()}`);
  process.exit(2);
}

/** The rows that were asked for, and those that they need to be judged. */
function chosenRows() {
  const pattern = new RegExp(options.rows);
  const wanted = new Set(allRows.filter((row) => pattern.test(row.id)).map((row) => row.id));
  for (const row of allRows.filter(({ id }) => wanted.has(id))) {
    if (row.from) wanted.add(row.from);
    for (const target of row.targets) if (target.row) wanted.add(target.row);
  }
  return allRows.filter((row) => wanted.has(row.id) && peersOf(row).length > 0);
}

/** Those of a row's servers that were asked for and are there. */
function peersOf(row) {
  return row.peers.filter((name) => asked.includes(name) && (kinds[name].present?.() ?? true));
}

function isJudged(row, name) {
  const isNamed = (target) => target.of?.includes(name) || target.over === name;
  return name === 'moonwire' || row.targets.some(isNamed) ||
    rows.some((other) => other.targets.some((target) => target.row === row.id && isNamed(target)));
}

/** One core for the servers and another for the generator, where there are two. */
function chooseCores() {
  const [server, generator] = allowedCores();
  if (generator === undefined) return { server: null, generator: null };
  spawnSync('taskset', ['--all-tasks', '--cpu-list', '--pid', String(generator), process.pid]);
  return { server, generator };
}

async function startServers(bench) {
  for (const row of rows.filter(({ mode }) => mode)) {
    for (const name of peersOf(row)) {
      const key = `${name} ${row.mode}`;
      if (bench.servers.has(key)) continue;
      bench.servers.set(key, await startServer(name, row.mode, bench.cores.server));
    }
  }
}

/** The servers one after another, beginning with another one in each round. */
function inTurn(peers, round) {
  const first = round % peers.length;
  return [...peers.slice(first), ...peers.slice(0, first)];
}

/** Which servers take this row in this round. A round to warm up is for those that stay up. */
function turnsOf(row, round, keep) {
  if (row.from || round >= (row.rounds ?? Infinity) || (!keep && !row.mode)) return [];
  return inTurn(peersOf(row), round)
    .filter((name) => round < ROUNDS_TO_COMPARE || isJudged(row, name));
}

function note(bench, row, name, sample) {
  bench.samples[row.id][name].push(sample);
  for (const derived of rows.filter(({ from }) => from === row.id)) {
    bench.samples[derived.id][name].push(derived.pick(sample));
  }
}

async function takeRound(bench, round, keep) {
  for (const row of rows) {
    for (const name of turnsOf(row, round, keep)) {
      progress(`round ${keep ? round + 1 : 'to warm up'}: ${row.group}, ${row.title}: ${name}`);
      const sample = await row.measure(name, bench);
      if (keep) note(bench, row, name, sample);
    }
  }
}

function progress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

async function takeRounds(bench) {
  const began = Date.now();
  const budget = (options.quick ? BUDGET_SECONDS.quick : BUDGET_SECONDS.full) * 1000;
  const full = bench.scale;
  bench.scale = full / 4;
  await takeRound(bench, 0, false);
  bench.scale = full;
  let last = 0;
  for (let round = 0; round < rounds; round++) {
    const start = Date.now();
    // The first round also has what is measured once, so it says nothing about the second.
    if (start - began + (round > 1 ? last : 0) > budget) {
      bench.notes.push(`stopped after ${round} of ${rounds} rounds: the time is up`);
      break;
    }
    await takeRound(bench, round, true);
    last = Date.now() - start;
  }
  progress('');
}

/** Which version of the sources this is, where git knows it. */
function commit() {
  const { stdout } = spawnSync('git', ['describe', '--always', '--dirty'], { encoding: 'utf8' });
  return stdout?.trim() || 'no commit';
}

function describe(bench) {
  const versions = Object.fromEntries(names.map((name) => [name, kinds[name].version().trim()]));
  return {
    date: new Date().toISOString(),
    commit: commit(),
    machine: `${os.cpus()[0].model}, ${os.cpus().length} cores, Linux ${os.release()}`,
    versions,
    cores: bench.cores,
    rounds,
    scale: bench.scale,
    load_before: os.loadavg()[0],
  };
}

function print(about, results, notes, failed) {
  const versions = Object.entries(about.versions).map(([name, text]) => `${name} ${text}`);
  console.log(`${about.date}, ${about.commit}, ${about.machine}\n${versions.join('; ')}`);
  for (const group of new Set(results.map((result) => result.group))) {
    const own = results.filter((result) => result.group === group);
    console.log(`\n### ${group}\n\n${figuresTable(own)}`);
    if (own.some(({ targets }) => targets.length > 0)) console.log(`\n${verdictTable(own)}`);
  }
  for (const text of notes) console.log(`\nnote: ${text}`);
  for (const failure of failed) console.log(`\nMISSED: ${failure}`);
}

async function main() {
  const bench = {
    cores: chooseCores(),
    scale: options.quick ? 0.25 : 1,
    quick: options.quick,
    servers: new Map(),
    samples: Object.fromEntries(rows.map((row) => [
      row.id, Object.fromEntries(peersOf(row).map((name) => [name, []])),
    ])),
    notes: [],
  };
  if (bench.cores.server === null) bench.notes.push('one core only: nothing was pinned');
  for (const name of names) kinds[name].build?.();
  const about = describe(bench);
  if (about.load_before > 1) {
    bench.notes.push(`the machine was busy: a load of ${about.load_before.toFixed(1)} before`);
  }
  await startServers(bench);
  await takeRounds(bench);
  if (bench.cores.server !== null) {
    for (const server of bench.servers.values()) verifyPinned(server.pid, bench.cores.server);
  }
  const results = rows.map((row) => summarize(row, bench.samples));
  const failed = failures(results);
  print(about, results, [...bench.notes, ...doubts(results)], failed);
  if (options.json) {
    writeFileSync(options.json, `${JSON.stringify({ ...about, results, failed }, null, 2)}\n`);
  }
  return failed.length > 0 ? 1 : 0;
}

if (options.help) {
  console.log(help());
  process.exit(0);
}
for (const name of asked) if (!kinds[name]) usage(`no such server: ${name}`);
if (!(rounds >= 1)) usage('--rounds wants a number from 1');
if (rows.length === 0) usage(`no row matches ${options.rows}`);

try {
  process.exitCode = await main();
} catch (error) {
  progress('');
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
} finally {
  await stopAll();
}
