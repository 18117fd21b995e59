/**
 * What happened to the model, told when it happens: the one source of notifications. Listeners run at once, in order,
 * and must not throw or change the model; they queue what they want to do.
 */

export type ModelChange =
  /** `path` is the object's instance path, `param` the bare name. The listener reads the value if it cares. */
  | {
      readonly kind: "value";
      readonly path: string;
      readonly param: string;
      /** A controller's Set did it; absent where the device itself did. */
      readonly isSet?: true;
    }
  | {
      readonly kind: "created";
      readonly path: string;
      readonly supportedPath: string;
      readonly keys: ReadonlyMap<string, string>;
    }
  | { readonly kind: "deleted"; readonly path: string; readonly supportedPath: string }
  /** `name` with its `!`; argument values as text. */
  | {
      readonly kind: "event";
      readonly path: string;
      readonly name: string;
      readonly args: Readonly<Record<string, string>>;
      /** Where the event is for one controller alone (Periodic!, Boot!, Push!): instance path of its row, no dot. */
      readonly recipient?: string;
    }
  | {
      readonly kind: "operationComplete";
      readonly path: string;
      readonly command: string;
      readonly commandKey: string;
      readonly outputs?: Readonly<Record<string, string>>;
      readonly failure?: { readonly code: number; readonly message: string };
    };

export type ChangeListener = (change: ModelChange) => void;

export class ChangeFeed {
  readonly #listeners = new Set<ChangeListener>();

  /** Returns what ends it. */
  listen(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  emit(change: ModelChange): void {
    for (const listener of this.#listeners) listener(change);
  }

  /** A computed parameter has a new value. */
  value(path: string, ...params: readonly string[]): void {
    if (this.#listeners.size === 0) return;
    for (const param of params) this.emit({ kind: "value", path, param });
  }
}
