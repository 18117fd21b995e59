/** The broker of a test must not outlive it, however the test ends. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { eventually } from "./eventually.ts";
import { hasMosquitto } from "./mosquitto.ts";
import { describeUnless, missing } from "./needs.ts";

describeUnless(missing("setpriv") ?? (hasMosquitto ? undefined : "needs mosquitto"), "mosquitto", () => {
  test("ends with a test that is killed", async () => {
    const script = `
      const { startMosquitto } = require("./test/support/mosquitto.ts");
      startMosquitto().then(({ port, folder }) => console.log(JSON.stringify({ port, folder })));
      setInterval(() => undefined, 1000);`;
    const parent = spawn(process.execPath, ["--require", join(__dirname, "register.cjs"), "-e", script]);
    const [said] = (await once(parent.stdout, "data")) as [Buffer];
    const { port, folder } = JSON.parse(said.toString()) as { port: number; folder: string };
    const listens = () =>
      new Promise<boolean>((resolve) => {
        const socket = connect(port, "127.0.0.1");
        const answer = (is: boolean) => {
          socket.destroy();
          resolve(is);
        };
        socket.once("connect", () => answer(true)).once("error", () => answer(false));
      });
    try {
      expect(await listens()).toBe(true);
      parent.kill("SIGKILL");
      await eventually(listens, (is) => !is, { what: "the broker" });
    } finally {
      parent.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
