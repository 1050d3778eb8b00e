// The steps of the tour, in its order; each begins where the one before ended.

const { call, assert } = require("./bench.js");

const NAME = "anna";
const PASSPHRASE = "four quiet words today";
const SAMPLE = "S-4711";
const SCRIPT = "<script>window.hit=1</script>";
const IMAGE = '<img src="/hit" onerror="window.hit=1">';

async function signIn(page, name, passphrase) {
  await page.getByLabel("Name", { exact: true }).fill(name);
  await page.getByLabel("Passphrase", { exact: true }).fill(passphrase);
}

// The first visit: a wrong code is told, the right one lets in.
async function pair({ bench, page, base, code }) {
  await page.goto(base);
  await page.getByLabel("Pairing code").fill(code === "0000-0000" ? "1111-1111" : "0000-0000");
  await signIn(page, NAME, PASSPHRASE);
  await page.getByRole("button", { name: "Set up" }).click();
  await page.getByRole("alert").waitFor();
  await bench.look("pairing");
  await page.getByLabel("Pairing code").fill(code);
  await page.getByRole("button", { name: "Set up" }).click();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await bench.says("No test has been received yet.");
}

// A run as it happens, from its start to its end, without anybody touching the page.
async function watch(tour) {
  const { bench, page, pcr_port, lines } = tour;
  tour.pcr = await call(pcr_port);
  const play = (from, to) => tour.pcr.write(lines.slice(from, to).map((line) => `${line}\n`).join(""));
  play(0, 2);
  await page.getByRole("link", { name: /^Watch/ }).click();
  await page.locator(".lead", { hasText: "Running" }).waitFor();
  tour.watched = new URL(page.url()).hash.split("/").at(-1);
  const rounds = (n) => bench.until(`${n} rounds`, (n) => document.querySelectorAll(".figures tbody tr").length === n, n);
  for (const upto of [3, 4, 14, 24]) {
    if (upto === 24) await reconnect(tour);
    play(tour.played ?? 2, upto);
    tour.played = upto;
    await rounds(upto - 2);
  }
  await page.locator("rect.gap").waitFor({ state: "attached" });
  assert.equal(await page.locator("rect.gap").count(), 1, "what the lost line may have cost is marked while the run goes on");
  await bench.look("live");
  play(24, lines.length - 1);
  await rounds(lines.length - 3);
  await compare(tour);
  play(lines.length - 1, lines.length);
  await page.locator(".verdict").waitFor();
  await bench.says("Did it go out?");
  await compare(tour);
  await bench.look("test");
}

// The line breaks in the middle of a run.
async function reconnect(tour) {
  const { bench, pcr_port } = tour;
  tour.pcr.destroy();
  const state = (wanted) => bench.until(`an analyzer that is${wanted ? "" : " not"} ready`, async (wanted) => {
    const { analyzers } = await (await fetch("/api/status")).json();
    return (analyzers.find((one) => one.id === "pcr").state === "ready") === wanted;
  }, wanted);
  await state(false);
  tour.pcr = await call(pcr_port);
  await state(true);
}

// What is drawn and listed is what is stored, and that is what the analyzer said.
async function compare({ bench, page, lines }) {
  const id = new URL(page.url()).hash.split("/").at(-1);
  const stored = (await bench.api(`/api/tests/${id}`)).data.samples;
  const last = JSON.parse(lines.at(-1)).test.data.samples;
  assert.deepEqual(stored, last.slice(0, stored.length));
  const shown = await page.evaluate(() => [...document.querySelectorAll(".figures tbody tr")].map((row) => [...row.querySelectorAll("[data-channel]")].map((cell) => [Number(cell.dataset.channel), Number(cell.dataset.value)])));
  const rounds = new Map();
  for (const sample of stored) rounds.set(sample.samplingTime, [...(rounds.get(sample.samplingTime) ?? []), [sample.startingChannel, sample.firstChannelResult]]);
  assert.deepEqual(shown, [...rounds.values()]);
  assert.equal(await page.locator("path[data-channel]").count(), 7);
  assert.equal(await page.locator("path.control").count(), 2, "the control's line and its sign in the legend");
}

// The mouse and the arrow keys read the same values off the curves.
async function read({ page, lines }) {
  const samples = JSON.parse(lines.at(-1)).test.data.samples;
  const at = (round) => samples.filter((sample) => sample.currentDataIndex === round).map((sample) => sample.firstChannelResult);
  const legend = () => page.evaluate(() => [...document.querySelectorAll(".legend output[data-channel]")].map((output) => Number(output.textContent.replace(/\D/g, ""))));
  const slider = page.getByRole("slider");
  await slider.focus();
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowRight");
  assert.match(await slider.getAttribute("aria-valuetext"), /\d min/);
  assert.deepEqual(await legend(), at(0));
  await page.keyboard.press("ArrowRight");
  assert.deepEqual(await legend(), at(1));
  const box = await page.locator("svg.plot").boundingBox();
  const line = await page.locator("path.c0").first().boundingBox();
  await page.mouse.move(line.x + (line.width * 20) / 35, box.y + box.height / 2);
  assert.deepEqual(await legend(), at(20));
}

// A scanner types the id and Enter; the analyzer reports; a person verifies.
async function register({ bench, page, blood }) {
  await bench.go("registrations");
  const field = page.getByLabel("Scan or type a sample's id");
  const scan = async (id) => {
    await bench.until("the field", () => document.activeElement?.id === "scan" && document.activeElement.value === "");
    await page.keyboard.type(`${id}\n`);
  };
  await field.waitFor();
  for (const id of [SAMPLE, SCRIPT]) {
    await scan(id);
    await page.locator("main tbody tr", { hasText: id }).waitFor();
  }
  await scan(SAMPLE);
  await bench.says(`Sample ${SAMPLE} is registered already`);
  assert.equal(await page.locator("main tbody tr", { hasText: SAMPLE }).count(), 1);
  const report = (id) => `H|\\^&|||${IMAGE}^1\rP|1\rO|1|${id}||^^^GLU|R\rR|1|^^^GLU|7.9|mmol/L|3.9 to 5.5|H||F\rL|1|N\r`;
  blood.write(report(SCRIPT) + report(SAMPLE));
  const row = page.locator("main tbody tr", { hasText: SAMPLE });
  await row.getByRole("button", { name: "Verify" }).click();
  await row.getByText("Verified", { exact: true }).waitFor();
  await page.locator("main tbody tr", { hasText: SCRIPT }).getByRole("button", { name: "Verify" }).waitFor();
  const { registrations } = await bench.api(`/api/registrations?sample_id=${SAMPLE}`);
  assert.equal(registrations[0].registration.verified_by, `page:${NAME}`);
  await bench.go("tests");
  await page.locator("main tbody tr", { hasText: SCRIPT }).getByText("1 flagged").waitFor();
  await page.getByRole("link", { name: SCRIPT }).click();
  await page.getByRole("heading", { level: 1, name: SCRIPT }).waitFor();
  await page.locator(".cards .flag", { hasText: "H" }).waitFor();
}

// What looks like markup in a sample's id or in a device's name is shown as it is.
async function script({ bench, page }) {
  await bench.says(IMAGE);
  await bench.go("");
  await page.locator(".analyzer", { hasText: IMAGE }).waitFor();
  await page.locator(".row", { hasText: SCRIPT }).waitFor();
  assert.equal(await page.locator("main img, main script").count(), 0);
  assert.equal(await page.evaluate(() => window.hit), undefined);
  assert.ok(!bench.asked.some((url) => url.endsWith("/hit")));
}

// The button that tries an endpoint out, hop by hop: first it refuses, then it takes.
async function tryOut({ bench, page, receiver }) {
  await bench.go("destinations");
  const card = page.locator("article", { hasText: "lims" });
  const button = card.getByRole("button", { name: "Try it out" });
  await button.click();
  await card.getByText("It does not work yet.").waitFor();
  receiver.status = 200;
  await button.click();
  await card.getByText("Everything works.").waitFor();
  assert.ok((await card.locator(".hops li").count()) >= 4);
}

// What was given up is counted, asked for and sent again.
async function sendAgain({ bench, page, receiver }) {
  await bench.go("dead");
  const all = page.getByRole("button", { name: "Send all of these again" });
  await all.waitFor();
  await bench.look("dead-full");
  const { dead } = await bench.api("/api/dead?limit=1000");
  assert.ok(dead.length > 5);
  const next = await bench.text("article .next");
  assert.ok(next.includes("Send again") && !/redrive|analyzer-gateway/.test(next), `the next step names the button: ${next}`);
  const before = receiver.ids.length;
  await all.click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText(`${dead.length} events to lims`).waitFor();
  await bench.picture("redrive");
  await dialog.getByRole("button", { name: "Send again" }).click();
  await bench.says("Nothing was given up.");
  const again = () => receiver.ids.slice(before);
  while (!dead.every((letter) => again().includes(letter.event))) await page.evaluate(() => new Promise(requestAnimationFrame));
  await bench.go("");
  await bench.until("a tick for each destination", () => {
    const rows = [...document.querySelectorAll(".row")];
    return rows.length === 3 && rows.every((row) => row.querySelectorAll(".ticks .state-delivered").length === 2);
  });
}

// What stands behind a paused receiver is not said to be on its way.
async function wait({ bench, page, blood }) {
  await bench.go("destinations");
  const card = page.locator("article", { hasText: "lims" });
  await card.getByRole("button", { name: "Pause" }).click();
  await card.getByText("Paused", { exact: true }).waitFor();
  blood.write("H|\\^&|||WAITS^1\rP|1\rO|1|S-4712||^^^GLU|R\rR|1|^^^GLU|5.1|mmol/L|3.9 to 5.5|N||F\rL|1|N\r");
  await bench.go("");
  const row = page.locator(".row", { hasText: "S-4712" });
  await row.locator("[data-key='webhook:lims']", { hasText: "waits: paused" }).waitFor();
  await bench.go("destinations");
  await card.getByRole("button", { name: "Resume" }).click();
  await card.getByRole("button", { name: "Pause" }).waitFor();
  await bench.go("");
  await row.locator(".ticks .state-delivered").nth(1).waitFor();
}

// Each view by itself, with something in it.
async function everyView({ bench, page }) {
  await bench.go("");
  // The machine that runs this may have troubles of its own, which name nobody.
  await bench.until("no trouble of an analyzer or a destination", () => document.querySelector(".troubles :is(.well, .trouble)") && !document.querySelector(".trouble .reason strong"));
  await bench.look("overview");
  for (const [view, words] of [["tests", SAMPLE], ["registrations", SAMPLE], ["destinations", "lims"], ["dead", "Nothing was given up."],
    ["system", "The gateway's time"], ["people", NAME], ["audit", `page:${NAME}`], ["configuration", "The file is in force."]]) {
    await bench.go(view);
    await page.locator("main").getByText(words).first().waitFor();
    await bench.look(view);
  }
  assert.ok(!(await bench.text("pre").catch(() => "")).includes("whsec_"));
}

async function german({ bench, page }) {
  await page.getByLabel("Language").selectOption("de");
  await page.getByRole("heading", { name: "Konfiguration" }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), "de");
  await bench.go("");
  await bench.says("Analysegeräte");
  await page.locator(".row .ticks").first().waitFor();
  await bench.picture("overview-german");
  await page.getByLabel("Darstellung").selectOption("dark");
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const dark = await ground();
  await page.getByLabel("Darstellung").selectOption("light");
  assert.notEqual(await ground(), dark);
  await page.getByLabel("Darstellung").selectOption("auto");
  await page.getByLabel("Sprache").selectOption("en");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
}

// While the network is away the page says since when, and it finds back by itself.
async function lose({ bench, page }) {
  await page.context().setOffline(true);
  await bench.says("Connection lost since");
  await bench.picture("lost");
  await page.context().setOffline(false);
  await bench.until("the connection", () => document.getElementById("connection").hidden);
}

// What the page fetches again by itself stands in the audit log once.
async function audit({ bench, watched }) {
  const { entries } = await bench.api("/api/audit?limit=1000&before=4294967295");
  const looks = entries.filter((one) => one.client === `page:${NAME}` && one.object === `test/${watched}+`);
  assert.equal(looks.length, 1);
}

// Somebody who may only look is shown no button that would be refused.
async function onlyLook({ bench, page }) {
  await bench.go("people");
  await page.getByLabel("Name", { exact: true }).fill("ben");
  await page.getByLabel("Passphrase", { exact: true }).fill("seven more quiet words");
  await page.getByRole("button", { name: "Add a person" }).click();
  await page.locator("main tbody tr", { hasText: "ben" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await bench.look("signin");
  await signIn(page, "ben", "seven more quiet words");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator("#bar", { hasText: "may look" }).waitFor();
  await bench.go("registrations");
  await page.locator("main tbody tr", { hasText: SCRIPT }).waitFor();
  assert.equal(await page.locator("main tbody button").count(), 0);
  await bench.go("destinations");
  await page.locator("article", { hasText: "lims" }).waitFor();
  assert.equal(await page.locator("article button").count(), 0);
  await bench.go("system");
  await page.getByText("The gateway's time").waitFor();
  assert.equal(await page.getByRole("link", { name: "People" }).count(), 0);
}

module.exports = { pair, watch, read, script, register, tryOut, sendAgain, wait, audit, everyView, german, lose, onlyLook };
