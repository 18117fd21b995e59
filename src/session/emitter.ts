/** A session's Records on their way out: payloads are cut to what the MTP takes, numbered and sealed. */
import type { SessionContextRecord } from "../../proto/generated/usp-record.ts";
import type { PeerParts } from "./peer-parts.ts";
import { roomIn, sealed } from "./seal.ts";
import { MIN_ROOM, segment, type Cargo } from "./segmentation.ts";
import type { Session } from "./session.ts";

export class Emitter {
  readonly #parts: PeerParts;
  readonly #leaves: () => void;

  /** @param leaves Called for each Record that leaves. */
  constructor(parts: PeerParts, leaves: () => void) {
    this.#parts = parts;
    this.#leaves = leaves;
  }

  /** A Message, or TLS records that carry it. Resolves when the MTP took them all. */
  async units(session: Session, units: readonly Uint8Array[], isHandshake: boolean): Promise<void> {
    const { settings, signer, envelope } = this.#parts;
    const room = roomIn(settings().maxRecordBytes, envelope(), signer);
    if (room < MIN_ROOM) throw new Error(`a Record of ${settings().maxRecordBytes} bytes has no room for a payload`);
    const cargos = segment(units, room);
    await Promise.all(cargos.map((cargo) => this.cargo(session, cargo, 0n, isHandshake)));
  }

  cargo(session: Session, cargo: Cargo, retransmitId = 0n, isHandshake = false): Promise<void> {
    return this.record(session, session.context.number(cargo, retransmitId), isHandshake);
  }

  /** One that has its number. */
  record(session: Session, value: SessionContextRecord, isHandshake: boolean): Promise<void> {
    const { envelope, signer, emit } = this.#parts;
    this.#leaves();
    return emit(sealed(session, envelope(), value, { signer, isHandshake }));
  }
}
