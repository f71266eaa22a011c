// What the tests in JavaScript share: a server that is started, stopped and started again on its
// port, folders that vanish with the test run, and bounded waiting. Nothing here sleeps and hopes:
// every wait is for a condition, and a condition that does not come true fails the test.
"use strict";

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const { createRequire } = require("node:module");
const os = require("node:os");
const path = require("node:path");
const { after } = require("node:test");

const ROOT = path.resolve(__dirname, "..");
const BINARY = process.env.MOONWIRE_BIN || path.join(ROOT, "build/moonwire");
const WITHIN = 15_000; // ms, for anything that is waited for

// The packages of tests/, also for tests that live elsewhere.
const packages = createRequire(path.join(ROOT, "tests/package.json"));

// What a failed test has left running would keep its file from ending; other hooks come first.
const children = new Set();
const killChildren = () => children.forEach((child) => child.kill("SIGKILL"));
after(() => setTimeout(killChildren, WITHIN).unref());
process.on("exit", killChildren);

// The promise's result, or an error that says what did not come in time.
function within(promise, what, milliseconds = WITHIN) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it did not come: ${what}`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Waits until the function's result is true; returns it.
async function eventually(what, condition, milliseconds = WITHIN) {
  const end = Date.now() + milliseconds;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > end) throw new Error(`it did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const folders = [];
const removeFolder = (folder) => fs.rmSync(folder, { recursive: true, force: true });
process.on("exit", () => folders.forEach(removeFolder));

// A new folder with these files: { name: text }. It goes when the process ends.
function makeFolder(files = {}) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "moonwire-test-"));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    fs.writeFileSync(path.join(folder, name), text);
  }
  return folder;
}

// Starts a process whose output is gathered: { child, text, said(pattern), exit(), kill(signal) }.
function startProcess(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  const running = { child, text: "", watchers: new Set() };
  const over = new Promise((resolve) => {
    child.on("error", (error) => {
      running.text += error.message;
      resolve(error.message);
    });
    child.on("close", (code, signal) => resolve(code ?? signal));
  });
  const ended = over.then((how) => {
    children.delete(child);
    running.over = true;
    running.watchers.forEach((watch) => watch());
    return how;
  });
  const read = (data) => {
    running.text += data;
    running.watchers.forEach((watch) => watch());
  };
  children.add(child);
  child.stdout.on("data", read);
  child.stderr.on("data", read);

  // Waits until its output, from an index on, shows the pattern; the match.
  running.said = (pattern, from = 0) => {
    const saying = new Promise((resolve, reject) => {
      const watch = () => {
        const match = pattern.exec(running.text.slice(from));
        if (match || running.over) running.watchers.delete(watch);
        if (match) resolve(match);
        else if (running.over) reject(new Error("it ended"));
      };
      running.watchers.add(watch);
      watch();
    });
    return within(saying, String(pattern)).catch((error) => {
      throw new Error(
        `${command} ${args.join(" ")} did not say ${pattern}: ${error.message}\n` + running.text,
      );
    });
  };

  // Its exit code, or the name of the signal that ended it, once all its output has been read.
  running.exit = () => within(ended, `the end of ${command} ${args.join(" ")}`);

  running.kill = (signal = "SIGTERM") => {
    child.kill(signal);
    return running.exit();
  };
  return running;
}

// Runs the binary to its end: { code, text }.
async function run(args, options) {
  const running = startProcess(BINARY, args, options);
  return { code: await running.exit(), text: running.text };
}

// A server that serves `file`: { url, port, admin, output(), said(pattern), exit(), kill(signal),
// start() }. start() brings it back on the same port after a kill.
async function startServer(file, { command = "run", args = [], env = {}, cwd } = {}) {
  const server = { port: 0, url: "", admin: "", process: null, before: "" };

  server.output = () => server.before + server.process.text;

  server.start = async () => {
    const all = [command, file, "--host", "127.0.0.1", "--port", String(server.port), ...args];
    if (server.process) server.before = server.output();
    server.process = startProcess(BINARY, all, { env: { ...process.env, ...env }, cwd });
    const [, url, port] = await server.process.said(/ on (http:\/\/127\.0\.0\.1:(\d+))\//);
    server.url = url;
    server.port = Number(port);
    if (args.includes("--admin") || command === "dev") {
      const [, admin] = await server.process.said(/admin on port (\d+)/);
      server.admin = `http://127.0.0.1:${admin}`;
    }
    return server;
  };

  server.said = (pattern, from) => server.process.said(pattern, from);
  server.exit = () => server.process.exit();
  server.signal = (signal) => server.process.child.kill(signal);
  server.kill = (signal) => server.process.kill(signal);
  return server.start();
}

module.exports = {
  BINARY,
  ROOT,
  WITHIN,
  eventually,
  makeFolder,
  packages,
  run,
  startProcess,
  startServer,
  within,
};
