// The order of a bench: options, servers up, rounds in turns, table, verdict. scripts/bench builds
// what it needs and starts it. Exit status 1: moonwire is beyond a limit, or a run failed.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';
import { allowedCores, stopAll, verifyPinned } from './processes.js';
import { kinds, startServer } from './servers.js';
import { doubts, failures, summarize, table } from './report.js';
import { rows as allRows } from './rows.js';

const HELP = `scripts/bench [options]
  --rounds N      rounds to take (7; quick: 3); connect and idle take at most 3
                  (quick: 1), reload 1
  --rows PATTERN  only rows whose name matches: ${allRows.map((row) => row.id).join(', ')}
  --servers LIST  which servers, with commas: ${Object.keys(kinds).join(',')}
  --quick         fewer messages and rounds, under a minute: a look, not a result
  --json FILE     also write every sample to FILE
  --check         does the load generator notice broken servers? Measures nothing
  --help          this text`;

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string' },
    rows: { type: 'string', default: '' },
    servers: { type: 'string', default: Object.keys(kinds).join(',') },
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

function usage(message) {
  console.error(`bench: ${message}\n${HELP}`);
  process.exit(2);
}

const asked = options.servers.split(',');
const rounds = Number(options.rounds ?? (options.quick ? 3 : 7));
const rows = allRows.filter((row) => new RegExp(options.rows).test(row.id))
  .filter((row) => peersOf(row).length > 0);
const names = asked.filter((name) => rows.some((row) => row.peers.includes(name)));
const budget = (options.quick ? 50 : 440) * 1000;

/** Those of a row's servers that were asked for. */
function peersOf(row) {
  return row.peers.filter((name) => asked.includes(name));
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

async function takeRound(bench, round, keep) {
  for (const row of rows) {
    if (round >= (options.quick && row.rounds ? 1 : (row.rounds ?? Infinity))) continue;
    if (!keep && !row.mode) continue;
    for (const name of inTurn(peersOf(row), round)) {
      progress(`round ${keep ? round + 1 : 'to warm up'}: ${row.title}: ${name}`);
      const sample = await row.measure(name, bench);
      if (keep) bench.samples[row.id][name].push(sample);
    }
  }
}

function progress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

async function takeRounds(bench) {
  const began = Date.now();
  const full = bench.scale;
  bench.scale = full / 4;
  await takeRound(bench, 0, false);
  bench.scale = full;
  let longest = 0;
  for (let round = 0; round < rounds; round++) {
    const start = Date.now();
    if (round > 0 && start - began + longest > budget) {
      bench.notes.push(`stopped after ${round} of ${rounds} rounds: the time is up`);
      break;
    }
    await takeRound(bench, round, true);
    longest = Math.max(longest, Date.now() - start);
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
  };
}

function print(about, results, notes, failed) {
  const versions = Object.entries(about.versions).map(([name, text]) => `${name} ${text}`);
  console.log(`${about.date}, ${about.commit}, ${about.machine}\n${versions.join('; ')}\n`);
  for (const against of new Set(rows.map((row) => row.against))) {
    const group = rows.filter((row) => row.against === against);
    const peers = names.filter((name) => group.some((row) => row.peers.includes(name)));
    console.log(`${table(results.filter(({ id }) => group.some((row) => row.id === id)), peers)}\n`);
  }
  for (const note of notes) console.log(`\nnote: ${note}`);
  for (const failure of failed) console.log(`\nBEYOND THE LIMIT: ${failure}`);
}

async function main() {
  const bench = {
    cores: chooseCores(),
    scale: options.quick ? 0.25 : 1,
    saves: options.quick ? 15 : 50,
    servers: new Map(),
    samples: Object.fromEntries(rows.map((row) => [
      row.id, Object.fromEntries(peersOf(row).map((name) => [name, []])),
    ])),
    notes: [],
  };
  if (bench.cores.server === null) bench.notes.push('one core only: nothing was pinned');
  for (const name of names) kinds[name].build?.();
  const about = describe(bench);
  await startServers(bench);
  await takeRounds(bench);
  if (bench.cores.server !== null) {
    for (const server of bench.servers.values()) verifyPinned(server.pid, bench.cores.server);
  }
  const results = rows.map((row) => summarize(row, bench.samples[row.id]));
  const failed = failures(results, rows);
  print(about, results, [...bench.notes, ...doubts(results)], failed);
  if (options.json) {
    writeFileSync(options.json, `${JSON.stringify({ ...about, results, failed }, null, 2)}\n`);
  }
  return failed.length > 0 ? 1 : 0;
}

if (options.help) {
  console.log(HELP);
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
