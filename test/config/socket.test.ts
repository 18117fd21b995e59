import { parseConfig } from "../../src/config.ts";

const socket = (name: string, options = "") => `config socket '${name}'\n${options}`;

describe("sockets in the configuration", () => {
  it("have the resident's among them unless it is taken away", () => {
    expect(parseConfig("").sockets).toMatchObject([
      { name: "resident", enable: true, role: "Resident", path: "/run/spin-usp/resident.sock" },
    ]);
    expect(parseConfig(socket("resident", " option enable '0'\n")).sockets).toMatchObject([{ enable: false }]);
  });

  it.each<[string, string]>([
    [`${socket("a")}${socket("b", " option endpoint_id 'self::a'\n")}`, "socket 'b' option endpoint_id is \"self::a\""],
    [`${socket("b", " option endpoint_id 'self::resident'\n")}`, "as that of 'resident' is"],
    [
      `${socket("b", " option role 'Monitor'\n")}config controller 'c'\n option endpoint_id 'self::b'\n`,
      "controller 'c' option role is \"Operator\", but socket 'b' gives the same endpoint id the role Monitor",
    ],
    [socket("b", ` option path '/${"x".repeat(103)}'\n`), "option path has 104 bytes; a socket's path may have 103"],
    [`${socket("a", " option path '/a'\n")}${socket("b", " option path '/a'\n")}`, "as another's is"],
    [socket("resident", " option role 'Resident'\n option secured '1'\n"), "the resident sees all anyway"],
  ])("says what is wrong with %j", (text, message) => {
    expect(() => parseConfig(text)).toThrow(message);
  });
});
