// What the page's tour needs: a browser, an analyzer's two ends, a receiver, and ways to look.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const http = require("node:http");
const net = require("node:net");
const path = require("node:path");
const { chromium } = require("playwright-core");

const PATIENCE_MS = 30000;
const AXE = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
// Without the last ones Chromium asks its makers' hosts for news.
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const SIZES = { phone: { width: 360, height: 740 }, small: { width: 480, height: 320 }, desk: { width: 1280, height: 860 } };

// A receiver that answers with the status of the hour and remembers the ids that it was sent.
class Receiver {
  constructor(status) {
    this.status = status;
    this.ids = [];
    this.server = http.createServer((request, response) => {
      request.resume();
      request.on("end", () => {
        this.ids.push(request.headers["webhook-id"]);
        response.writeHead(this.status).end();
      });
    });
  }

  listen(port) {
    return new Promise((resolve) => this.server.listen(port, "127.0.0.1", resolve));
  }
}

// An analyzer that calls the gateway.
async function call(port) {
  const socket = net.connect(port, "127.0.0.1");
  socket.on("data", () => {});
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  return socket;
}

class Bench {
  static async start({ base, shots }) {
    const bench = new Bench();
    Object.assign(bench, { base, shots, troubles: [], asked: [] });
    bench.browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
    const context = await bench.browser.newContext({ viewport: SIZES.desk, locale: "en-GB", colorScheme: "light", acceptDownloads: true });
    context.setDefaultTimeout(PATIENCE_MS);
    bench.page = await context.newPage();
    // A fault of the page, or a policy that it breaks, fails the tour. A refusal that a step expects is no fault.
    bench.page.on("pageerror", (error) => bench.troubles.push(error.stack));
    bench.page.on("console", (message) => {
      if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) bench.troubles.push(message.text());
    });
    bench.page.on("request", (request) => bench.asked.push(request.url()));
    return bench;
  }

  async go(view) {
    await this.page.goto(`${this.base}/#/${view}`);
  }

  // Waits for it to be true in the page.
  async until(what, check, argument) {
    await this.page.waitForFunction(check, argument, { timeout: PATIENCE_MS }).catch((error) => {
      throw new Error(`waited in vain for ${what}: ${error.message}`);
    });
  }

  text(selector) {
    return this.page.locator(selector).first().innerText();
  }

  says(words) {
    return this.page.getByText(words).first().waitFor();
  }

  // What the gateway answers to the page's own session.
  api(address) {
    return this.page.evaluate(async (address) => (await fetch(address)).json(), address);
  }

  async picture(name) {
    await this.page.screenshot({ path: path.join(this.shots, `${name}.png`) });
  }

  // In light and dark: no serious fault for those who read otherwise than by eye. In all sizes: nothing beyond the edge.
  async look(name) {
    for (const colorScheme of ["dark", "light"]) {
      await this.page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      // By way of the debugger, which the page's policy does not bind.
      await this.page.evaluate(AXE);
      const { violations } = await this.page.evaluate("axe.run()");
      const serious = violations.filter((one) => ["serious", "critical"].includes(one.impact));
      const told = serious.map((one) => `${one.id}: ${one.help} (${one.nodes.slice(0, 3).map((node) => node.target).join(", ")})`);
      assert.deepEqual(told, [], `${name}, ${colorScheme}`);
      await this.picture(`${name}-${colorScheme}`);
    }
    for (const size of ["phone", "small", "desk"]) {
      await this.page.setViewportSize(SIZES[size]);
      await this.page.evaluate(() => new Promise((painted) => requestAnimationFrame(() => requestAnimationFrame(painted))));
      const beyond = await this.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(beyond <= 0, `${name}, ${size}: ${beyond} px beyond the edge`);
      if (size !== "desk") await this.picture(`${name}-${size}`);
    }
  }
}

module.exports = { Bench, Receiver, call, assert };
