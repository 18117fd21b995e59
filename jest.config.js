/** Sources stay ESM; swc turns them into CommonJS for the tests only. */
export default {
  setupFiles: ["<rootDir>/test/support/environment.ts"],
  testEnvironment: "node",
  roots: ["<rootDir>/test"],
  testMatch: ["**/*.test.ts"],
  transform: {
    "^.+\\.[tj]s$": [
      "@swc/jest",
      { jsc: { parser: { syntax: "typescript" }, target: "es2022" }, module: { type: "commonjs" } },
    ],
  },
  extensionsToTreatAsEsm: [],
  moduleFileExtensions: ["ts", "js", "mjs", "json"],
  testTimeout: 30000,
};
