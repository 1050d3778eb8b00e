// The steps of the tour at the box itself, and at the person's own passphrase.

const fs = require("node:fs");
const path = require("node:path");
const { assert } = require("./bench.js");

const AT = "2026-11-21T20:14:03.120Z";
const REASON = "the new system did not answer within 10 minutes";

// What the privileged half of a box leaves, as a file in its folder.
function say(root, name, value) {
  const file = path.join(root, "run/analyzer-gateway-appliance", `${name}.json`);
  fs.writeFileSync(`${file}.new`, JSON.stringify({ ...value, at: AT }));
  fs.renameSync(`${file}.new`, file);
}

// The box as its parts say: what runs, what an update does, why the network is another one.
async function theBox({ bench, page, root }) {
  await bench.go("system");
  await page.getByRole("link", { name: "This box" }).click();
  await page.getByRole("heading", { level: 1, name: "This box" }).waitFor();
  for (const words of ["1.4.0", "test-board", "Being installed", "1.5.0", "198.51.100.7", "nobody answers at 192.0.2.1", "The newest report is on it", "Something needs a person"]) {
    await bench.says(words);
  }
  assert.equal(await page.locator("progress").getAttribute("value"), "40");
  assert.equal(await page.getByRole("button", { name: "Install an update" }).count(), 0, "one is under way");
  await bench.look("box");
  say(root, "update", { phase: "rolled_back", from: "1.4.0", to: "1.5.0", reason: REASON });
  const install = page.getByRole("button", { name: "Install an update" });
  await install.waitFor();
  await bench.says(REASON);
  await bench.look("box-rolled-back");
}

// A question that belongs to a view goes with it.
async function back({ bench, page }) {
  await page.getByRole("button", { name: "Install an update" }).click();
  await page.getByRole("dialog").getByLabel("From where").selectOption("usb");
  await bench.picture("box-install");
  await page.goBack();
  await page.getByRole("heading", { level: 1, name: "System" }).waitFor();
  assert.equal(await page.locator("dialog").count(), 0);
  assert.ok(!bench.asked.some((url) => url.endsWith("/api/update")), "nothing was asked for");
}

async function germanBox({ bench, page }) {
  await page.getByLabel("Language").selectOption("de");
  await page.getByLabel("Sprache").waitFor();
  await bench.go("box");
  await page.getByRole("heading", { level: 1, name: "Diese Box" }).waitFor();
  await bench.says("Funktionierte nicht; die Version davor ist zurück");
  for (const [size, box] of [["phone", { width: 390, height: 844 }], ["small", { width: 480, height: 320 }]]) {
    await page.setViewportSize(box);
    const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(beyond <= 0, `${size}: ${beyond} px beyond the edge`);
    await bench.picture(`box-german-${size}`);
  }
  await page.setViewportSize({ width: 1280, height: 860 });
  await bench.go("");
  const trouble = page.locator(".trouble", { hasText: "Das Netz ist nicht so, wie es die Einstellungen wollen" });
  await trouble.getByText("Unter System, Diese Box steht").waitFor();
  assert.equal((await trouble.locator(".reason [lang=en]").innerText()).trim(), "(nobody answers at 192.0.2.1)");
  await page.getByLabel("Sprache").selectOption("en");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
}

// One's own passphrase: what is wrong is told by the field's name, then the new one counts, and nothing is lost of what is live.
async function ownPassphrase({ bench, page }) {
  await page.getByRole("link", { name: "ben" }).click();
  const change = async (current, next) => {
    await page.getByLabel("The one of now").fill(current);
    await page.getByLabel("The new one").fill(next);
    await page.getByRole("button", { name: "Change it" }).click();
  };
  await change("not the one of now", "eight quite other words");
  const alert = page.getByRole("alert");
  await alert.getByText("The passphrase of now: is wrong").waitFor();
  assert.ok(!(await alert.innerText()).includes("/current"), "a place in JSON is nothing for people");
  await bench.look("me");
  await change("seven more quiet words", "eight quite other words");
  await bench.says("Your passphrase is changed.");
  assert.ok(await page.locator("#connection").isHidden());
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Name", { exact: true }).fill("ben");
  await page.getByLabel("Passphrase", { exact: true }).fill("eight quite other words");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator("#bar", { hasText: "may look" }).waitFor();
}

module.exports = { theBox, back, germanBox, ownPassphrase };
