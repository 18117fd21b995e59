/**
 * Challenges (TR-369 §"Challenge", R-SEC.7): a controller that can say the right words gets the roles of
 * `ControllerTrust.Challenge.{i}.`. Wrong answers are counted for each controller and kept over restarts; past Retries it is
 * locked out for LockoutPeriod.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { Clock } from "../../lib/clock.ts";
import { UspError, UspErrorCode } from "../../lib/usp-error.ts";
import type { CommandCall, InstanceNode, ModelTree } from "../../model/implementation.ts";
import { parsePath } from "../../model/path.ts";
import { resolve } from "../../model/resolve.ts";
import { Transaction } from "../../model/transaction.ts";

const TABLE = "Device.LocalAgent.ControllerTrust.Challenge.{i}.";
/** Questions that wait for an answer: a few of each controller. */
const MAX_ASKED = 64;
/** Controllers whose wrong answers are remembered. */
const MAX_ATTEMPTS = 256;
const DEFAULT_EXPIRATION_S = 300;
const LONGEST_EXPIRATION_S = 86_400;

interface Asked {
  readonly controller: string;
  readonly endpointId: string;
  /** Instance path of the challenge, with final dot. */
  readonly challenge: string;
  /** Monotonic. */
  readonly until: number;
}

interface Attempts {
  readonly wrong: number;
  /** Milliseconds since 1970; 0: not locked out. */
  readonly lockedUntil: number;
}

export interface ChallengeParts {
  readonly clock: Clock;
  /** What `save` was given in an earlier life. */
  readonly load: () => unknown;
  readonly save: (attempts: Readonly<Record<string, Attempts>>) => void;
}

export class Challenges {
  readonly #parts: ChallengeParts;
  readonly #asked = new Map<string, Asked>();
  /** By endpoint id and challenge. */
  readonly #attempts = new Map<string, Attempts>();

  constructor(parts: ChallengeParts) {
    this.#parts = parts;
    for (const [key, value] of Object.entries((parts.load() ?? {}) as Record<string, Partial<Attempts>>))
      if (Number.isSafeInteger(value.wrong) && Number.isSafeInteger(value.lockedUntil))
        this.#attempts.set(key, value as Attempts);
  }

  /** @throws UspError 7022, 7027 */
  request(reference: string, expiration: number | undefined, { tree, caller }: CommandCall) {
    if (caller.controller === "") throw failed("only a controller may ask");
    const node = challengeAt(tree, reference);
    this.#mustNotBeLocked(caller.endpointId, node);
    for (const [id, asked] of this.#asked)
      if (asked.until < this.#parts.clock.monotonic() || isOf(asked, caller.endpointId, node.path))
        this.#asked.delete(id);
    if (this.#asked.size >= MAX_ASKED) throw failed(`${MAX_ASKED} challenges wait for an answer already`);
    const id = randomBytes(16).toString("hex");
    const seconds = Math.min(expiration || DEFAULT_EXPIRATION_S, LONGEST_EXPIRATION_S);
    this.#asked.set(id, {
      controller: caller.controller,
      endpointId: caller.endpointId,
      challenge: node.path,
      until: this.#parts.clock.monotonic() + seconds * 1000,
    });
    const text = (name: string) => tree.text(node, name) ?? "";
    return {
      Instruction: text("Instruction"),
      InstructionType: text("InstructionType"),
      ValueType: text("ValueType"),
      ChallengeID: id,
    };
  }

  /** @throws UspError 7022 */
  respond(id: string, value: string, { tree, caller }: CommandCall): void {
    const asked = this.#asked.get(id);
    if (!asked || asked.endpointId !== caller.endpointId || asked.until < this.#parts.clock.monotonic())
      throw failed("there is no such challenge of yours, or its time is over");
    const node = tree.at(asked.challenge);
    if (!node || valueOf(node, "Enable") !== true) throw failed("the challenge is no longer there");
    this.#mustNotBeLocked(caller.endpointId, node);
    if (!isRight(value, valueOf(node, "Value") as string)) {
      if (this.#wrong(caller.endpointId, node)) this.#asked.delete(id);
      throw failed("the answer is wrong");
    }
    this.#asked.delete(id);
    this.#forget(keyOf(caller.endpointId, node));
    const controller = tree.at(asked.controller);
    if (!controller) throw failed("the controller is gone");
    const transaction = new Transaction(tree);
    const roles = [...(valueOf(controller, "AssignedRole") as string[]), ...(valueOf(node, "Role") as string[])];
    transaction.write(controller, "AssignedRole", [...new Set(roles)]);
    transaction.commit();
  }

  #mustNotBeLocked(endpointId: string, node: InstanceNode): void {
    const { lockedUntil } = this.#attempts.get(keyOf(endpointId, node)) ?? NO_ATTEMPTS;
    const now = this.#parts.clock.now();
    // A clock that was set back locks nobody out for longer than the period.
    const remaining = Math.min(lockedUntil - now, periodMs(node));
    if (remaining > 0) throw failed(`too many wrong answers: locked out for ${Math.ceil(remaining / 1000)} s`);
  }

  /** @returns whether the controller is locked out now */
  #wrong(endpointId: string, node: InstanceNode): boolean {
    const key = keyOf(endpointId, node);
    const wrong = (this.#attempts.get(key)?.wrong ?? 0) + 1;
    const isLocked = wrong > (valueOf(node, "Retries") as number);
    this.#attempts.delete(key);
    if (this.#attempts.size >= MAX_ATTEMPTS)
      for (const oldest of this.#attempts.keys()) if (this.#attempts.delete(oldest)) break;
    const lockedUntil = isLocked ? this.#parts.clock.now() + periodMs(node) : 0;
    this.#attempts.set(key, { wrong: isLocked ? 0 : wrong, lockedUntil });
    this.#save();
    return isLocked;
  }

  #forget(key: string): void {
    if (this.#attempts.delete(key)) this.#save();
  }

  #save(): void {
    this.#parts.save(Object.fromEntries(this.#attempts));
  }
}

const NO_ATTEMPTS: Attempts = { wrong: 0, lockedUntil: 0 };

/** @throws UspError 7027 */
function challengeAt(tree: ModelTree, reference: string): InstanceNode {
  let nodes: readonly InstanceNode[] = [];
  try {
    nodes = resolve(tree, parsePath(reference.endsWith(".") ? reference : `${reference}.`)).nodes;
  } catch (error) {
    if (!(error instanceof UspError)) throw error;
  }
  const [node] = nodes;
  if (nodes.length !== 1 || node?.object.path !== TABLE || valueOf(node, "Enable") !== true)
    throw new UspError(
      UspErrorCode.InvalidCommandArguments,
      "ChallengeRef is no challenge that is enabled",
      "ChallengeRef",
    );
  return node;
}

/** In the same time whatever is wrong. An empty answer is never right. */
function isRight(given: string, wanted: string): boolean {
  const hash = (base64: string) => createHash("sha256").update(Buffer.from(base64, "base64")).digest();
  return timingSafeEqual(hash(given), hash(wanted)) && wanted !== "";
}

const failed = (why: string) => new UspError(UspErrorCode.CommandFailed, why);
const keyOf = (endpointId: string, { path }: InstanceNode) => `${endpointId} ${path}`;
const isOf = (asked: Asked, endpointId: string, challenge: string) =>
  asked.endpointId === endpointId && asked.challenge === challenge;
const periodMs = (node: InstanceNode) => 1000 * (valueOf(node, "LockoutPeriod") as number);
const valueOf = (node: InstanceNode, name: string): unknown => node.object.params.get(name)?.read(node.row);
