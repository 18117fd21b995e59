/**
 * Who is let in: a controller on the connections that its own MTP rows name, under the endpoint id that its certificate
 * says, where there is one; one that is not known by trust on first use alone. What is refused is counted by the inlet,
 * and told once a minute.
 */
import { readCertificate, knownTime } from "../lib/certificate.ts";
import type { Clock } from "../lib/clock.ts";
import { describe, type Log } from "../lib/log.ts";
import type { InstanceNode, Tree } from "../model/tree.ts";
import type { Connection } from "./connection.ts";
import { CONTROLLER_TABLE, TRUST, type Controller, type Controllers, type Route } from "./controllers.ts";
import { FirstUse } from "./trust/first-use.ts";
import {
  inheritedRoles,
  isTrustedBroker,
  judgePeer,
  type AllowedUses,
  type Peer,
  type TrustFacts,
  type Verdict,
} from "./trust/judge.ts";
import type { Trust } from "./trust/trust.ts";

export interface AdmissionParts {
  readonly tree: Tree;
  readonly controllers: Controllers;
  readonly clock: Clock;
  readonly log: Log;
  readonly trust: Trust | undefined;
  /** Takes in rows that were made since. */
  readonly refresh: () => void;
}

/** Certificates of one connection that are looked at: a leaf and what is above it. */
const MAX_CHAIN = 10;
/** Endpoint ids that one connection is remembered for, and of whom was warned: one that sends under many is asked anew. */
const MAX_REMEMBERED = 64;
/** Between two warnings of the same controller. */
const WARN_MS = 60_000;

const NOTHING: ReadonlySet<string> = new Set();

/** What is known of a connection's other end, until a row changes. */
interface Standing {
  readonly peer: Peer;
  readonly generation: number;
  readonly verdicts: Map<string, Verdict>;
}

export class Admission {
  readonly #parts: AdmissionParts;
  readonly #firstUse: FirstUse;
  #standings = new WeakMap<Connection, Standing>();
  #facts: Omit<TrustFacts, "rules"> | undefined;
  /** By endpoint id: when it was warned of, monotonic. */
  readonly #warned = new Map<string, number>();

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
    this.#firstUse = new FirstUse(parts.tree, parts.trust?.certificates, parts.clock, parts.log);
  }

  /** The controller that a Record is from, if it may come in there; a row is made for one that is trusted at first use. */
  admit(connection: Connection, fromId: string, replyTo: string | undefined): Controller | undefined {
    const { controllers } = this.#parts;
    const named = connection.controller;
    if (named !== undefined) {
      const controller = controllers.at(named);
      return controller?.enabled ? controller : undefined;
    }
    if (connection.peer !== undefined && connection.peer !== fromId)
      return this.#refuse(fromId, `the connection is ${connection.peer}'s`);
    const row = controllers.withId(fromId);
    if (row && !row.enabled) return undefined;
    const why = row && wayFault(connection, row, replyTo);
    if (why !== undefined) return this.#refuse(fromId, why);
    const verdict = this.#verdict(connection, fromId, row);
    switch (verdict.kind) {
      case "admitted":
        if (row) this.#heard(connection, row);
        return row;
      case "banned":
        return this.#banned(connection, fromId, row, verdict.why);
      case "refused":
        return this.#refuse(fromId, verdict.why);
      case "first use":
        return this.#firstTime(connection, fromId, verdict, replyTo);
    }
  }

  /** Whether what is the controller's may be sent there. */
  mayHear(connection: Connection, controller: Controller): boolean {
    if (connection.controller !== undefined) return connection.controller === controller.path;
    if (connection.peer !== undefined && connection.peer !== controller.endpointId) return false;
    return (
      controller.routes.some((route) => leadsTo(route, connection, controller)) &&
      this.#verdict(connection, controller.endpointId, controller).kind === "admitted"
    );
  }

  /** Whether the broker at the other end vouches for who speaks through it. */
  isTrustedBroker(connection: Connection): boolean {
    return isTrustedBroker(this.#standing(connection).peer, this.#trust());
  }

  /** Why a certificate that is shown within a session, or signs a Record, is not that controller's; `undefined` if it is. */
  certificateFault(chain: readonly Uint8Array[], endpointId: string): string | undefined {
    const row = this.#parts.controllers.withId(endpointId);
    if (!row) return "it is not known";
    try {
      const certificates = chain.slice(0, MAX_CHAIN).map(readCertificate);
      const peer = { chain: certificates, isBroker: false, isDialled: false, isLocal: false };
      if (certificates.length === 0) return "it shows no certificate";
      const claim = { endpointId, isKnown: true, stored: this.#stored(row) };
      const verdict = judgePeer(claim, peer, this.#trust());
      if (verdict.kind === "admitted") return undefined;
      return verdict.kind === "first use" ? "it is not known" : verdict.why;
    } catch (error) {
      return `its certificate can't be read: ${describe(error)}`;
    }
  }

  /** A connection stands: what its peer's certificate brings holds from now on. */
  opened(connection: Connection): void {
    connection.inherit(inheritedRoles(this.#standing(connection).peer, this.#trust()));
  }

  /**
   * Why the one at the other end is not who it calls itself, by its certificate. Such a connection is ended: where there is
   * one to a peer, it would keep the right one away.
   */
  peerFault(connection: Connection): string | undefined {
    const { peer, controller, tls } = connection;
    if (peer === undefined || controller !== undefined || tls === undefined) return undefined;
    const verdict = this.#verdict(connection, peer, this.#parts.controllers.withId(peer));
    if (verdict.kind !== "refused") return undefined;
    this.#warn(peer, verdict.why);
    return verdict.why;
  }

  /** Rows changed: all is judged anew. */
  invalidate(connections: Iterable<Connection>): void {
    this.#facts = undefined;
    this.#standings = new WeakMap();
    for (const connection of connections) this.opened(connection);
    this.#firstUse.update();
  }

  stop(): void {
    this.#firstUse.stop();
  }

  #firstTime(
    connection: Connection,
    fromId: string,
    { keep, isVouchedFor }: Verdict & { kind: "first use" },
    replyTo: string | undefined,
  ): Controller | undefined {
    const { controllers, refresh, log } = this.#parts;
    try {
      this.#firstUse.make({ endpointId: fromId, connection, keep, isVouchedFor, replyTo });
    } catch (error) {
      return this.#refuse(fromId, describe(error));
    }
    log.warn(
      `${fromId} is new: ${isVouchedFor ? "an authority vouches for it" : "trusted on first use, it has no role yet"}`,
    );
    refresh();
    const made = controllers.known(fromId);
    if (made) this.#heard(connection, made);
    return made;
  }

  /** It gets the BannedRole and nothing else, or where there is none, nothing at all. */
  #banned(connection: Connection, fromId: string, row: Controller | undefined, why: string): Controller | undefined {
    const role = this.#trustRow("BannedRole") as string;
    this.#warn(fromId, `${why}: it is banned`);
    if (!row || role === "") return undefined;
    connection.inherit([role]);
    this.#parts.trust?.inherited.set(row.path, [role]);
    return row;
  }

  #heard(connection: Connection, { path }: Controller): void {
    this.#firstUse.heard(path);
    const { trust, tree } = this.#parts;
    const roles = connection.door.inherited ?? [];
    const before = trust?.inherited.get(path) ?? [];
    if (!trust || (roles.length === before.length && roles.every((role, at) => role === before[at]))) return;
    trust.inherited.set(path, roles);
    tree.changes.value(`${path}.`, "InheritedRole");
  }

  #verdict(connection: Connection, endpointId: string, row: Controller | undefined): Verdict {
    const { peer, verdicts } = this.#standing(connection);
    let verdict = verdicts.get(endpointId);
    if (!verdict) {
      const stored = row ? this.#stored(row) : [];
      verdict = judgePeer({ endpointId, isKnown: row !== undefined, stored }, peer, this.#trust());
      if (verdicts.size >= MAX_REMEMBERED) verdicts.clear();
      // What is new becomes known by what follows.
      if (verdict.kind !== "first use") verdicts.set(endpointId, verdict);
    }
    return verdict;
  }

  /** Fingerprints of the certificates that are kept for it. */
  #stored({ credentials }: Controller): string[] {
    return credentials.flatMap((path) => {
      const known = this.#parts.trust?.certificates.at(path);
      return known ? [known.certificate.fingerprint] : [];
    });
  }

  #standing(connection: Connection): Standing {
    let standing = this.#standings.get(connection);
    const generation = this.#parts.trust?.certificates.generation ?? 0;
    if (!standing || standing.generation !== generation) {
      if (standing) this.#facts = undefined;
      standing = { peer: this.#peer(connection), generation, verdicts: new Map() };
      this.#standings.set(connection, standing);
    }
    return standing;
  }

  #peer({ tls, hasAddresses, door, mtp }: Connection): Peer {
    const common = {
      isBroker: hasAddresses,
      isDialled: mtp.startsWith(CONTROLLER_TABLE),
      isLocal: door.protocol === "UDS",
      trustsSystem: tls?.trustsSystem === true,
    };
    if (!tls) return { ...common, chain: undefined };
    try {
      return { ...common, chain: tls.chain.slice(0, MAX_CHAIN).map(readCertificate) };
    } catch (error) {
      this.#parts.log.warn(`${mtp}: a certificate of the peer can't be read: ${describe(error)}`);
      return { ...common, chain: [] };
    }
  }

  #trust(): TrustFacts {
    const { trust, clock } = this.#parts;
    const now = knownTime(clock.now());
    this.#facts ??= {
      certificates: (trust?.certificates.all() ?? []).filter(({ source }) => source !== "own"),
      credentials: this.#credentials(),
      firstUse: this.#trustRow("TOFUAllowed") === true,
    };
    return {
      ...this.#facts,
      ...(trust?.roots ? { roots: trust.roots } : {}),
      rules: { revoked: trust?.revoked?.() ?? NOTHING, ...(now === undefined ? {} : { now }) },
    };
  }

  #credentials(): TrustFacts["credentials"] {
    const { tree, trust } = this.#parts;
    const table = tree.object(`${TRUST}Credential.{i}.`);
    if (!table || !trust) return [];
    return [...tree.all(table)].flatMap((row) => {
      const known = trust.certificates.at(valueOf(row, "Credential") as string);
      if (!known) return [];
      return {
        fingerprint: known.certificate.fingerprint,
        uses: valueOf(row, "AllowedUses") as AllowedUses,
        roles: valueOf(row, "Role") as readonly string[],
        enabled: valueOf(row, "Enable") === true,
      };
    });
  }

  #trustRow(name: string): unknown {
    const node = this.#parts.tree.at(TRUST);
    return node && valueOf(node, name);
  }

  #refuse(fromId: string, why: string): undefined {
    this.#warn(fromId, why);
  }

  #warn(fromId: string, why: string): void {
    const now = this.#parts.clock.monotonic();
    const before = this.#warned.get(fromId);
    if (before !== undefined && now - before < WARN_MS) return;
    if (this.#warned.size >= MAX_REMEMBERED) {
      // Under a flood of names all are told once, together.
      for (const [id, at] of this.#warned) if (now - at >= WARN_MS) this.#warned.delete(id);
      if (this.#warned.size >= MAX_REMEMBERED) return;
    }
    this.#warned.set(fromId, now);
    this.#parts.log.warn(`Records of ${fromId.slice(0, 80)} are ignored: ${why}`);
  }
}

/** Why the controller may not speak there, by its own MTP rows. */
function wayFault(connection: Connection, controller: Controller, replyTo: string | undefined): string | undefined {
  const routes = controller.routes.filter((route) => leadsTo(route, connection, controller));
  if (routes.length === 0) return `none of its MTP rows names ${connection.mtp}`;
  if (replyTo === undefined || routes.some(({ replyPrefixes }) => mayAnswerTo(replyPrefixes, replyTo)))
    return undefined;
  return `it wants its answer at ${JSON.stringify(replyTo.slice(0, 128))}, which X_SPIN_ReplyPrefixes does not allow`;
}

function leadsTo({ protocol, agentMtp, row }: Route, connection: Connection, { path }: Controller): boolean {
  const { door, mtp } = connection;
  if (protocol !== door.protocol) return false;
  // What the agent dialled is that one row's.
  if (mtp.startsWith(CONTROLLER_TABLE)) return mtp.startsWith(`${path}.`) && mtp === row;
  return connection.isBy(agentMtp);
}

const mayAnswerTo = (prefixes: readonly string[], topic: string) =>
  prefixes.length === 0 || prefixes.some((prefix) => topic.startsWith(prefix));

const valueOf = (node: InstanceNode, name: string): unknown => node.object.params.get(name)?.read(node.row);
