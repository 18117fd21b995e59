/**
 * Of every test: agents write their status into their state directory, which goes with the test, and not into the
 * machine's /run (there is no such runtime directory as this).
 */
process.env["RUNTIME_DIRECTORY"] = "/dev/null/spin-usp";
