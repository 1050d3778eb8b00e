// A tour through the page as people make it, in a real browser against a real gateway. Its argument is a file of JSON: where the gateway
// is, the ports of its analyzers and of its receiver, the pairing code, the lines of a run, and where pictures go.

const fs = require("node:fs");
const { Bench, Receiver, call, assert } = require("./bench.js");
const steps = { ...require("./steps.js"), ...require("./box.js") };

async function main() {
  const given = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
  const receiver = new Receiver(422);
  await receiver.listen(given.receiver_port);
  const bench = await Bench.start(given);
  const tour = { ...given, bench, page: bench.page, receiver };
  try {
    for (const step of ["pair", "watch", "read", "register", "script", "tryOut", "sendAgain", "wait", "everyView", "german", "theBox", "back", "germanBox", "lose", "audit", "onlyLook", "ownPassphrase"]) {
      const began = Date.now();
      tour.blood ??= await call(given.blood_port);
      await steps[step](tour).catch(async (error) => {
        await bench.picture(`failed-${step}`);
        throw new Error(`${step}: ${error.stack}`);
      });
      assert.deepEqual(bench.troubles, [], step);
      console.log(`${step}: ${Date.now() - began} ms`);
    }
    const elsewhere = bench.asked.filter((url) => !url.startsWith(given.base) && !url.startsWith("blob:"));
    assert.deepEqual(elsewhere, [], "the page asks nobody but its gateway");
  } finally {
    await bench.browser.close();
    receiver.server.closeAllConnections();
    receiver.server.close();
    tour.blood?.destroy();
    tour.pcr?.destroy();
  }
  fs.writeFileSync(given.done, JSON.stringify({ ids: receiver.ids }));
}

main().catch((error) => {
  console.error(error.stack);
  process.exit(1);
});
