// Starts programs on a given core, reads what the kernel knows about them, and ends every one of
// them by its process id, whatever happens to the bench. Knows nothing about servers or rows.

import { spawn } from 'node:child_process';
import { readFileSync, readdirSync, rmSync } from 'node:fs';
import { once } from 'node:events';

const running = new Set();
const folders = new Set();

/** The cores this process may use, as numbers. */
export function allowedCores() {
  const list = /^Cpus_allowed_list:\s*(.+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1];
  return list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/**
 * Starts a program. setpriv and taskset replace themselves by what they start, so `child.pid` is
 * the program's own; if the bench is killed outright, the kernel ends the program too.
 */
export function start(command, args, core, options = {}) {
  const pin = core === null ? [] : ['taskset', '--cpu-list', String(core)];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...pin, command, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    ...options,
  });
  child.command = [command, ...args].join(' ');
  child.output = '';
  child.errors = '';
  child.stdout.on('data', (data) => (child.output = (child.output + data).slice(-4000)));
  child.stderr.on('data', (data) => (child.errors = (child.errors + data).slice(-4000)));
  child.on('error', () => running.delete(child));
  child.on('exit', () => running.delete(child));
  running.add(child);
  return child;
}

export function hasEnded(child) {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Waits for a program to end by itself; throws with its last words unless its status is 0. */
export async function finish(child) {
  if (!hasEnded(child) || !child.stdout.closed) await once(child, 'close');
  if (child.exitCode === 0) return child.output;
  throw new Error(`${child.command}\n  ended with ${child.exitCode ?? child.signalCode}: ` +
    child.errors.trim());
}

/** Ends a program: asked first, forced after two seconds. */
export async function stop(child) {
  if (hasEnded(child)) return;
  const force = setTimeout(() => child.kill('SIGKILL'), 2000);
  child.kill('SIGTERM');
  await once(child, 'exit');
  clearTimeout(force);
}

/** A folder of a program's, which goes when all have ended. */
export function removeAtEnd(folder) {
  folders.add(folder);
}

export async function stopAll() {
  await Promise.all([...running].map(stop));
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

/** Seconds of CPU that the threads of a process have used, from the scheduler's own accounts. */
export function cpu(pid) {
  const nanoseconds = readdirSync(`/proc/${pid}/task`).map((thread) => (
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0])));
  return nanoseconds.reduce((sum, own) => sum + own, 0) * 1e-9;
}

/** Resident bytes, summed from the page tables: /proc/PID/status is a cached, coarser figure. */
export function rss(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Rss:\s+(\d+) kB$/m.exec(text)[1]) * 1024;
}

/** Throws unless every thread of the process is bound to that core alone. */
export function verifyPinned(pid, core) {
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
    const allowed = /^Cpus_allowed_list:\s*(.+)$/m.exec(status)[1];
    if (allowed !== String(core)) {
      throw new Error(`process ${pid}: thread ${thread} may run on ${allowed}, not only on ${core}`);
    }
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => stopAll().finally(() => process.exit(130)));
}
