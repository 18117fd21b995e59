/** STOMP over TLS, against RabbitMQ that wants a client's certificate: the Link contract, the agent, and what may be wrong. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectStomp } from "../../src/mtp/stomp.ts";
import type { StompOptions } from "../../src/mtp/stomp-options.ts";
import { linkContract } from "../contracts/link.ts";
import { answers } from "../gateway/support.ts";
import { CONTROLLER_ID } from "../support/agent.ts";
import { authority, type Authority } from "../support/certificates.ts";
import { eventually } from "../support/eventually.ts";
import { describeUnless, missing } from "../support/needs.ts";
import { GUEST, rabbitMissing } from "../support/rabbitmq.ts";
import { StompBed } from "../support/stomp-bed.ts";

const never = new AbortController().signal;
const ALL = { configure: ".*", write: ".*", read: ".*" };

describeUnless(rabbitMissing ?? missing("openssl"), "RabbitMQ with TLS", () => {
  let bed: StompBed;
  let folder: string;
  let own: Authority;
  let strange: Authority;
  let client: { cert: string; key: string };
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "spin-usp-stomp-tls-"));
    own = authority(folder, "own");
    strange = authority(folder, "strange");
    client = own.issue("client", { host: "home-0001" });
    const server = own.issue("server", { host: "localhost" });
    const files = { "ca.pem": own.file, "server.pem": server.cert, "server.key": server.key };
    bed = await StompBed.up({
      // The certificate's name is the user's; guest comes without one, over the port without TLS.
      users: [
        { name: "home-0001", password: "unknown to all", ...ALL },
        { name: GUEST.username, password: GUEST.password, ...ALL },
      ],
      config: [
        "stomp.listeners.ssl.1 = 127.0.0.1:{port}",
        "ssl_options.cacertfile = {folder}/ca.pem",
        "ssl_options.certfile = {folder}/server.pem",
        "ssl_options.keyfile = {folder}/server.key",
        "ssl_options.verify = verify_peer",
        "ssl_options.fail_if_no_peer_cert = true",
        "stomp.ssl_cert_login = true",
        "ssl_cert_login_from = common_name",
      ],
      files: Object.fromEntries(Object.entries(files).map(([name, file]) => [name, readFileSync(file, "utf8")])),
    });
  }, 120_000);
  afterEach(() => bed.clear(), 30_000);
  afterAll(async () => {
    await bed?.down();
    rmSync(folder, { recursive: true, force: true });
  }, 30_000);

  const pem = ({ cert, key }: { cert: string; key: string }) => ({ cert: readFileSync(cert), key: readFileSync(key) });
  const options = (tls: StompOptions["tls"] = {}): Omit<StompOptions, "endpointId" | "destination"> => ({
    url: `stomps://localhost:${bed.rabbit.tlsPort}`,
    tls: { ca: readFileSync(own.file), ...pem(client), ...tls },
  });

  describe.each(["TLSv1.2", "TLSv1.3"] as const)("of version %s", (version) => {
    linkContract(`STOMP over RabbitMQ and ${version}, with a certificate instead of a password`, () => ({
      connect: async () => {
        const group = Math.random().toString(36).slice(2);
        const end = async (name: string) => {
          const address = `/topic/usp.${group}.${name}`;
          const { link, chain } = await connectStomp(
            {
              ...options({ minVersion: version, maxVersion: version }),
              endpointId: `self::${name}`,
              destination: address,
              limits: { incomingRecords: 64 },
            },
            never,
          );
          expect(chain?.length).toBeGreaterThan(0);
          return { link, address };
        };
        const [a, b] = await Promise.all([end("a"), end("b")]);
        return { a, b };
      },
      cut: () => bed.rabbit.kill(),
      restore: () => bed.rabbit.start(),
    }));
  });

  test("is refused, or refuses, with the reason in words", async () => {
    const attempt = (tls: StompOptions["tls"], url = options().url) =>
      connectStomp(
        { ...options(tls), url, endpointId: "self::a", destination: "/topic/a", connectTimeoutMs: 5_000 },
        never,
      );
    await expect(attempt({ ca: readFileSync(strange.file) })).rejects.toMatchObject({ kind: "tls" });
    await expect(attempt({}, `stomps://127.0.0.1:${bed.rabbit.tlsPort}`)).rejects.toMatchObject({ kind: "tls" });
    await expect(attempt(pem(strange.issue("stranger", { host: "home-0001" })))).rejects.toMatchObject({
      name: "MtpError",
    });
    await expect(attempt(pem(own.issue("late", { host: "home-0001", expired: true })))).rejects.toMatchObject({
      name: "MtpError",
    });
    await expect(attempt(pem(own.issue("unknown", { host: "nobody" })))).rejects.toMatchObject({ kind: "credentials" });
    const { ca } = options().tls ?? {};
    await expect(
      connectStomp(
        { url: options().url, tls: ca === undefined ? {} : { ca }, endpointId: "self::a", destination: "/topic/a" },
        never,
      ),
    ).rejects.toMatchObject({ name: "MtpError" });
  }, 60_000);

  test("carries the agent, which tells what is wrong with a broker's certificate", async () => {
    const files = { ca_file: own.file, cert_file: client.cert, key_file: client.key };
    const tls = { host: "localhost", port: String(bed.rabbit.tlsPort), tls: "1", ...files };
    const agent = await bed.agent({
      stomp: { ...tls, username: "", password_file: "" },
      sections: Object.entries({
        stranger: { ca_file: strange.file, virtual_host: "stranger" },
        misnamed: { host: "127.0.0.1", virtual_host: "misnamed" },
      }).map(([name, other]) => ({ type: "stomp", name, options: { ...tls, ...other } })),
    });
    const controller = await bed.controller();
    await answers(controller, agent);
    const states = async () => [...(await controller.read(["Device.STOMP.Connection.*.Status"])).values()];
    await eventually(
      states,
      ([first, ...others]) => first === "Enabled" && others.every((status) => status === "Error"),
      {
        what: "the states",
      },
    );
    expect(agent.log).toContain("not trusted");
    expect(await controller.read([`Device.LocalAgent.Controller.[EndpointID=="${CONTROLLER_ID}"].Enable`])).toEqual(
      new Map([["Device.LocalAgent.Controller.1.Enable", "true"]]),
    );
  }, 60_000);

  test("gives the roles that the authority of its broker brings", async () => {
    const files = { ca_file: own.file, cert_file: client.cert, key_file: client.key };
    const agent = await bed.agent({
      stomp: {
        host: "localhost",
        port: String(bed.rabbit.tlsPort),
        tls: "1",
        ...files,
        username: "",
        password_file: "",
      },
    });
    const controller = await bed.controller();
    await answers(controller, agent);
    const inherited = async () => [
      ...(await controller.read(["Device.LocalAgent.Controller.1.InheritedRole"])).values(),
    ];
    expect(await inherited()).toEqual([""]);
    const trust = "Device.LocalAgent.ControllerTrust.";
    const [path = ""] = (await controller.read([`${trust}Role.[Name=="Monitor"].Name`])).keys();
    const Role = path.replace(/\.Name$/, "");
    await controller.create(`${trust}Credential.`, {
      Enable: "true",
      // What the configuration names as ca_file is the first that the agent knows.
      Credential: "Device.LocalAgent.Certificate.1",
      AllowedUses: "MTP-and-broker",
      Role,
    });
    await eventually(inherited, ([roles]) => roles === Role, { what: "InheritedRole" });
  }, 60_000);
});
