/**
 * The vendor model as TR-106 XML (DM schema 1.14), for an ACS or controller to load: an extension of TR-181 2.19 for USP.
 * Only the objects given are printed; standard ones are the standard's to print.
 */
import { Builder } from "xml2js";
import {
  model,
  type Argument,
  type Arguments,
  type Command,
  type Event,
  type ObjectSchema,
  type Param,
} from "../schema.ts";
import type { Facets, ValueType } from "../values.ts";

interface Node {
  readonly $?: Readonly<Record<string, string>>;
  readonly [child: string]: unknown;
}

/** Prints the objects whose path begins with `root`. */
export function printXml(objects: readonly ObjectSchema[], root: string): string {
  const printed = model(objects).filter(({ path }) => path.startsWith(root));
  const builder = new Builder({
    xmldec: { version: "1.0", encoding: "UTF-8" },
    renderOpts: { pretty: true, indent: "  ", newline: "\n" },
  });
  const document: Node = {
    $: {
      "xmlns:dm": "urn:broadband-forum-org:cwmp:datamodel-1-14",
      "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
      "xsi:schemaLocation":
        "urn:broadband-forum-org:cwmp:datamodel-1-14 https://www.broadband-forum.org/cwmp/cwmp-datamodel-1-14.xsd",
      spec: "urn:spin-usp:x-spin-1-0",
      file: "spin.xml",
    },
    description: "spin-usp: Security and Privacy for In-home Networks, as a vendor extension of TR-181 for USP.",
    import: [
      {
        $: { file: "tr-181-2-19-usp.xml", spec: "urn:broadband-forum-org:tr-181-2-19-usp" },
        model: [{ $: { name: "Device:2.19" } }],
      },
    ],
    model: [
      {
        $: { name: "X_SPIN_Device:1.0", base: "Device:2.19" },
        object: printed.map(printObject),
      },
    ],
  };
  return `${builder.buildObject({ "dm:document": document })}\n`;
}

function printObject(schema: ObjectSchema): Node {
  const parts = schema.path.split(".");
  const table = parts.at(-3);
  return {
    $: {
      name: schema.path,
      access: schema.canAdd || schema.canDelete ? "readWrite" : "readOnly",
      minEntries: schema.isTable ? "0" : "1",
      maxEntries: schema.isTable ? (Number.isFinite(schema.maxRows) ? `${schema.maxRows}` : "unbounded") : "1",
      ...(schema.isTable ? { numEntriesParameter: `${table}NumberOfEntries` } : {}),
      ...(schema.isTable && "Enable" in schema.params ? { enableParameter: "Enable" } : {}),
    },
    description: schema.description,
    uniqueKey: schema.keys.map(({ params, functional }) => ({
      $: { functional: `${functional}` },
      parameter: params.map((ref) => ({ $: { ref } })),
    })),
    parameter: Object.entries(schema.params).map(([name, param]) => printParam(name, param)),
    command: Object.entries(schema.commands).map(([name, command]) => printCommand(name, command)),
    event: Object.entries(schema.events).map(([name, event]) => printEvent(name, event)),
  };
}

function printParam(name: string, param: Param): Node {
  return {
    $: {
      name,
      access: param.access === "writeOnce" ? "writeOnceReadOnly" : param.access,
      ...(param.valueChange ? {} : { activeNotify: "canDeny" }),
    },
    description: param.description,
    syntax: printSyntax(param.type, {
      ...(param.hidden ? { hidden: "true" } : {}),
      ...(param.secured ? { secured: "true" } : {}),
      ...(param.hasDefault ? { default: param.type.print(param.default) } : {}),
    }),
  };
}

function printSyntax(type: ValueType<unknown>, options: { hidden?: string; secured?: string; default?: string }): Node {
  const { default: value, ...attributes } = options;
  return {
    ...(Object.keys(attributes).length > 0 ? { $: attributes } : {}),
    ...(type.item ? { list: [printList(type.facets)] } : {}),
    ...printType(type.item ?? type),
    ...(value === undefined ? {} : { default: [{ $: { type: "object", value } }] }),
  };
}

function printList({ list, maxLength }: Facets): Node | string {
  const maxItems = list?.maxItems === undefined ? {} : { maxItems: `${list.maxItems}` };
  return {
    ...(Object.keys(maxItems).length > 0 ? { $: maxItems } : {}),
    ...(maxLength === undefined ? {} : { size: [{ $: { maxLength: `${maxLength}` } }] }),
  };
}

function printType({ base, facets }: ValueType<unknown>): Node {
  if (facets.dataType !== undefined && NAMED_TYPES.has(facets.dataType))
    return { dataType: [{ $: { ref: facets.dataType } }] };
  const size = { ...numeric("minLength", facets.minLength), ...numeric("maxLength", facets.maxLength) };
  const range = { ...numeric("minInclusive", facets.min), ...numeric("maxInclusive", facets.max) };
  return {
    [base]: [
      {
        ...(Object.keys(size).length > 0 ? { size: [{ $: size }] } : {}),
        ...(Object.keys(range).length > 0 ? { range: [{ $: range }] } : {}),
        ...(facets.reference
          ? {
              pathRef: [
                {
                  $: {
                    refType: facets.reference.strong ? "strong" : "weak",
                    targetParent: facets.reference.target.replace("{i}.", ""),
                    targetType: "row",
                  },
                },
              ],
            }
          : {}),
        ...(facets.values ? { enumeration: facets.values.map((value) => ({ $: { value } })) } : {}),
        ...(facets.pattern === undefined ? {} : { pattern: [{ $: { value: facets.pattern } }] }),
        ...(facets.units === undefined ? {} : { units: [{ $: { value: facets.units } }] }),
      },
    ],
  };
}

/** Those that TR-106 and TR-181 define. */
const NAMED_TYPES = new Set(["Alias", "StatsCounter64", "StatsCounter32", "MACAddress", "IPAddress"]);

const numeric = (name: string, value: number | undefined) => (value === undefined ? {} : { [name]: `${value}` });

function printArguments(args: Arguments): Node[] {
  return Object.entries(args).map(([name, argument]) => printArgument(name, argument));
}

function printArgument(name: string, { description, mandatory, type, secured, ...rest }: Argument): Node {
  return {
    $: { name, ...(mandatory ? { mandatory: "true" } : {}) },
    description,
    syntax: printSyntax(type, {
      ...(secured ? { secured: "true" } : {}),
      ...(rest.default === undefined ? {} : { default: type.print(rest.default) }),
    }),
  };
}

function printCommand(name: string, { mode, description, input, output, rows }: Command): Node {
  const objects = Object.entries(rows).map(([table, columns]) => ({
    $: { name: `${table}.{i}.`, minEntries: "0", maxEntries: "unbounded" },
    description: "One line of the answer.",
    parameter: printArguments(columns),
  }));
  return {
    $: { name, ...(mode === "async" ? { async: "true" } : {}) },
    description,
    ...(Object.keys(input).length > 0 ? { input: [{ parameter: printArguments(input) }] } : {}),
    ...(Object.keys(output).length + objects.length > 0
      ? { output: [{ parameter: printArguments(output), object: objects }] }
      : {}),
  };
}

function printEvent(name: string, { description, args }: Event): Node {
  return { $: { name }, description, parameter: printArguments(args) };
}
