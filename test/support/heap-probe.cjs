/* Preloaded into the agent by the soak: at SIGUSR2 says what is on the heap once all garbage is gone. */
process.on("SIGUSR2", () => {
  for (let turn = 0; turn < 3; turn++) globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  process.stderr.write(`heap-probe ${heapUsed + external}\n`);
});
