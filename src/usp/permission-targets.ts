/**
 * Targets of a Permission that search: whoever may write Permissions would learn from what they give whether a guess at
 * a value is right. By secured and hidden parameters, which nobody need be able to read, no Target searches.
 */
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { ModelTree, SupportedObject } from "../model/implementation.ts";
import { parsePath, type ParsedPath } from "../model/path.ts";

/** @throws UspError 7008 */
export const parseTarget = (text: string): ParsedPath => parsePath(text.replaceAll("{i}", "*"));

/** @throws UspError 7012 where a Target looks at a secured or hidden value; what is no path is not refused: it gives nothing */
export function checkTargets(tree: ModelTree, targets: readonly string[]): void {
  for (const target of targets) {
    let path: ParsedPath;
    try {
      path = parseTarget(target);
    } catch (error) {
      if (error instanceof UspError) continue;
      throw error;
    }
    checkTarget(tree, path);
  }
}

/** The same of one. The error tells the parameter and not the Target, which holds what was guessed. */
export function checkTarget(tree: ModelTree, { segments }: ParsedPath): void {
  let object: SupportedObject | undefined = tree.root;
  for (const segment of segments.slice(1)) {
    if (!object) return; // not in this model
    if (segment.kind === "name") object = object.children.get(segment.name);
    else if (segment.kind === "follow") object = followed(tree, object, segment.name);
    else if (segment.kind === "search")
      for (const { path } of segment.expression) {
        let at: SupportedObject | undefined = object;
        path.forEach(({ name, follow }, i) => {
          if (i === path.length - 1) refuseConcealed(at, name);
          else at = follow === undefined ? at?.children.get(name) : followed(tree, at, name);
        });
      }
  }
}

function followed(tree: ModelTree, object: SupportedObject | undefined, name: string): SupportedObject | undefined {
  refuseConcealed(object, name);
  const target = object?.params.get(name)?.schema.type.facets.reference?.target;
  return target === undefined ? undefined : tree.object(target);
}

function refuseConcealed(object: SupportedObject | undefined, name: string): void {
  const schema = object?.params.get(name)?.schema;
  if (!object || (!schema?.secured && !schema?.hidden)) return;
  const why = `${object.path}${name} is ${schema.hidden ? "hidden" : "secured"}: no Target searches by it`;
  throw new UspError(UspErrorCode.InvalidValue, `Targets: ${why}`, "Targets");
}
