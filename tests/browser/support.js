// What the browser tests share: a server that is started, killed and started again on its port;
// Debian's Chromium; and small ways to wait for what a page shows. Nothing here sleeps: every wait
// is for a condition, and a condition that does not come true fails the test.
"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const { createRequire } = require("node:module");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");

const ROOT = path.resolve(__dirname, "../..");
const BINARY = process.env.MOONWIRE_BIN || path.join(ROOT, "build/moonwire");
const SCREENSHOTS = path.join(ROOT, "build/screenshots");
const WITHIN = 15_000; // ms, for anything that is waited for

// The packages of tests/, also for tests that live beside their sample.
const packages = createRequire(path.join(ROOT, "tests/package.json"));

const PHONE = { width: 360, height: 740 };
const DESKTOP = { width: 1280, height: 800 };

const children = new Set();
process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")));

// A server that serves `file`: { url, port, output(), kill(signal), start(), stop() }. start()
// brings it back on the same port after a kill.
async function startServer(file, { command = "run", env = {} } = {}) {
  const server = { port: 0, url: "", child: null, text: "" };

  server.output = () => server.text;

  server.start = () =>
    new Promise((resolve, reject) => {
      const args = [command, file, "--host", "127.0.0.1", "--port", String(server.port)];
      const child = spawn(BINARY, args, { env: { ...process.env, ...env } });
      const timer = setTimeout(() => fail("is silent"), WITHIN);
      const fail = (why) => {
        clearTimeout(timer);
        child.kill("SIGKILL");
        reject(new Error(`${BINARY} ${args.join(" ")} ${why}\n${server.text}`));
      };
      const read = (data) => {
        server.text += data;
        const ready = / on (http:\/\/127\.0\.0\.1:(\d+))\//.exec(server.text.slice(before));
        if (!ready) return;
        clearTimeout(timer);
        server.url = ready[1];
        server.port = Number(ready[2]);
        resolve(server);
      };
      const before = server.text.length;
      server.child = child;
      children.add(child);
      child.stdout.on("data", read);
      child.stderr.on("data", read);
      child.on("error", (error) => fail(error.message));
      child.on("exit", (code, signal) => {
        children.delete(child);
        fail(`ended with ${code ?? signal}`);
      });
    });

  // Resolves to the exit code, or to the signal's name, when the process is gone.
  server.kill = (signal = "SIGTERM") =>
    new Promise((resolve) => {
      const { child } = server;
      if (child.exitCode !== null || child.signalCode !== null) {
        return resolve(child.exitCode ?? child.signalCode);
      }
      child.once("exit", (code, name) => resolve(code ?? name));
      child.kill(signal);
    });

  // Ends it as an administrator does. A server that does not end well fails the test, and so does
  // a leak, which the sanitizers tell by the exit code.
  server.stop = async () => assert.equal(await server.kill("SIGTERM"), 0, server.text);

  return server.start();
}

function launchBrowser() {
  return packages("playwright-core").chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--headless",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

// A page of somebody's own: nothing is shared with other pages of the browser. An error in the
// page's scripts, and a dialog, are noted in page.problems.
async function openPage(browser, url, { viewport = DESKTOP, colorScheme = "light" } = {}) {
  const phone = viewport.width < 500;
  const context = await browser.newContext({
    viewport,
    colorScheme,
    hasTouch: phone,
    isMobile: phone,
    deviceScaleFactor: phone ? 2 : 1,
  });
  context.setDefaultTimeout(WITHIN);
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("dialog", (dialog) => {
    page.problems.push("dialog: " + dialog.message());
    return dialog.dismiss();
  });
  await page.goto(url);
  return page;
}

// Waits until an element that fits the selector shows the text.
async function shows(page, selector, text) {
  await page.locator(selector, { hasText: text }).first().waitFor();
}

function texts(page, selector) {
  return page.locator(selector).allTextContents();
}

// Waits until the function's result is true; returns it.
async function eventually(what, condition) {
  const end = Date.now() + WITHIN;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > end) throw new Error(`it did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// Saves pictures of the page in both colour schemes, and returns how much wider than the window
// the document is: 0 when it fits.
async function photograph(page, name) {
  fs.mkdirSync(SCREENSHOTS, { recursive: true });
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: path.join(SCREENSHOTS, `${name}-${colorScheme}.png`) });
  }
  return page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
}

// A copy of a sample that a test may edit. The folder goes when the process ends.
function copySample(name) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "moonwire-sample-"));
  process.on("exit", () => fs.rmSync(folder, { recursive: true, force: true }));
  fs.cpSync(path.join(ROOT, "samples", name), folder, { recursive: true });
  return path.join(folder, "app.lua");
}

// A cable between a browser and a server that can be cut and mended.
function startCable(port) {
  const sockets = new Set();
  const listener = net.createServer((near) => {
    if (cable.isCut) return near.destroy();
    const far = net.connect(port, "127.0.0.1");
    for (const [from, to] of [[near, far], [far, near]]) {
      sockets.add(from);
      from.pipe(to);
      from.on("error", () => {});
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  const cable = {
    isCut: false,
    cut() {
      cable.isCut = true;
      sockets.forEach((socket) => socket.destroy());
    },
    mend() {
      cable.isCut = false;
    },
    remove() {
      cable.cut();
      listener.close();
    },
  };
  return new Promise((resolve) => {
    listener.listen(0, "127.0.0.1", () => {
      cable.url = `http://127.0.0.1:${listener.address().port}`;
      resolve(cable);
    });
  });
}

module.exports = {
  DESKTOP,
  PHONE,
  ROOT,
  copySample,
  eventually,
  launchBrowser,
  openPage,
  photograph,
  shows,
  startCable,
  startServer,
  texts,
};
