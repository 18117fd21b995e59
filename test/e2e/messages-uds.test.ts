/** Every Message through a local door, between the agent as it is run and its controller. */
import { BENCH_ROWS, messageContract } from "../contracts/messages.ts";
import { SocketBed } from "../support/socket-bed.ts";

const bed = new SocketBed();
beforeAll(() => bed.agent(["Admin"], { args: ["--bench-model", `${BENCH_ROWS}`] }), 60_000);
afterAll(() => bed.clear(), 30_000);

messageContract("A Unix domain socket", () => ({ connect: () => bed.as("Admin") }));
