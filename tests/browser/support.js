// What the browser tests share beside ../support.js: Debian's Chromium, and small ways to wait for
// what a page shows.
"use strict";

const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");
const { ROOT, WITHIN, eventually, makeFolder, packages, startServer } = require("../support.js");

const SCREENSHOTS = path.join(ROOT, "build/screenshots");

const PHONE = { width: 360, height: 740 };
const DESKTOP = { width: 1280, height: 800 };

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
  const folder = makeFolder();
  fs.cpSync(path.join(ROOT, "samples", name), folder, { recursive: true });
  return path.join(folder, "app.lua");
}

// A cable between a browser and a server that can be cut and mended.
function startCable(port) {
  const sockets = new Set();
  const listener = net.createServer((near) => {
    if (cable.isCut) return near.destroy();
    const far = net.connect(port, "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
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
  makeFolder,
  openPage,
  packages,
  photograph,
  shows,
  startCable,
  startServer,
  texts,
};
