/** TR-181 2.19: reports of many parameters, sent to a collector at an interval (TR-369 annex A). */
import { argument, command, event, object, readOnly, readWrite, writeOnce } from "./schema.ts";
import { CONTROLLER, MQTT_CLIENT, retryMinimum, retryMultiplier, seconds, topic } from "./standard.ts";
import {
  alias,
  boolean,
  canonical,
  dateTime,
  enumeration,
  int,
  list,
  reference,
  string,
  unsignedInt,
  UNKNOWN_TIME,
} from "./values.ts";

const PROTOCOL = enumeration("HTTP", "MQTT", "USPEventNotif");
const ENCODING = enumeration("JSON", "CSV");
const COMPRESSION = enumeration("None", "GZIP");
const METHOD = enumeration("POST", "PUT");
const TIMESTAMP = enumeration("Unix-Epoch", "ISO-8601", "None");
const PROFILE = "Device.BulkData.Profile.{i}.";
/** Of a parameter or an object, wildcards and searches included. */
const path = string({ maxLength: 256 });
/** Written as it is, or as `&#13;&#10;`, as TR-369's examples have it. */
const separator = string({ minLength: 1, maxLength: 16 });

/** Without a user in it, which a log would show; HTTP.Username is for that. */
const url = canonical("URL", { maxLength: 1024 }, "an http:// or https:// URL without a user or a fragment", (text) => {
  if (text === "") return "";
  if (!/^https?:\/\/[^\s#]+$/i.test(text) || !URL.canParse(text)) return undefined;
  const { username, password, hostname } = new URL(text);
  return username === "" && password === "" && hostname !== "" ? text : undefined;
});

/** Bounds of the tables: a telemetry profile names some tens of paths, most with wildcards. */
const MAX_PROFILES = 16;
const MAX_REFERENCES = 64;

export const BulkData = object("Device.BulkData.", {
  description: "Reports of many parameters, sent to a collector at an interval.",
  params: {
    Enable: readWrite(boolean, "Whether any report is made.", { default: true }),
    Status: readOnly(
      enumeration("Disabled", "Enabled", "Error"),
      "Error: the last report of some profile could not be made or delivered; the log says why.",
    ),
    MinReportingInterval: readOnly(seconds(), "Shortest ReportingInterval that is taken."),
    Protocols: readOnly(list(PROTOCOL), "Ways to deliver a report."),
    EncodingTypes: readOnly(list(ENCODING), "Ways to write it."),
    ParameterWildCardSupported: readOnly(boolean, "Whether a Reference may hold wildcards."),
    MaxNumberOfProfiles: readOnly(int({ min: -1 }), "Most Profile rows."),
    MaxNumberOfParameterReferences: readOnly(int({ min: -1 }), "Most Parameter rows of a profile."),
  },
});

export const BulkDataProfile = object(PROFILE, {
  description:
    "A report: what is in it, how it is written, where it goes and when. It holds what the Controller may read and no more. Only that Controller may change it; an Admin may disable or delete it.",
  keys: [["Alias"]],
  rows: "add-delete",
  maxRows: MAX_PROFILES,
  params: {
    Enable: readWrite(boolean, "Whether reports are made."),
    Alias: writeOnce(alias, "Alias of the row."),
    Name: readWrite(string({ maxLength: 255 }), "Name for people."),
    NumberOfRetainedFailedReports: readWrite(
      int({ min: -1 }),
      "Reports kept to go with the next one when they can't be delivered; -1: as many as memory is given. Not for USPEventNotif, and not over a restart.",
    ),
    Protocol: readWrite(PROTOCOL, "How it is delivered."),
    EncodingType: readWrite(ENCODING, "How it is written. A change drops the reports that are kept."),
    ReportingInterval: readWrite(seconds({ min: 1 }), "Between reports.", { default: 86400 }),
    TimeReference: readWrite(
      dateTime,
      "When one of them is due, which says when the others are. Unknown: a moment of the interval that differs from agent to agent and stays.",
      { default: UNKNOWN_TIME },
    ),
    Controller: readOnly(
      reference(CONTROLLER, { deletesRow: true }),
      "Who made it: its rights decide what is reported.",
    ),
  },
  commands: { "ForceCollection()": command("sync", "Makes and delivers a report now, besides those that are due.") },
  events: {
    "Push!": event("A report, where Protocol is USPEventNotif. Told to the Controller alone.", {
      Data: argument(string(), "The report as EncodingType says."),
    }),
  },
});

export const BulkDataParameter = object(`${PROFILE}Parameter.{i}.`, {
  description: "What is in the report.",
  rows: "add-delete",
  maxRows: MAX_REFERENCES,
  params: {
    Name: readWrite(
      string({ maxLength: 64 }),
      "Name in the report, followed by the instance numbers that wildcards stand for and what lies below an object path; empty: the full path.",
    ),
    Reference: readWrite(path, "A parameter or an object with all below it; may hold wildcards and searches."),
    Exclude: readWrite(boolean, "Whether it is taken out of the report rather than put in."),
  },
});

export const BulkDataCsvEncoding = object(`${PROFILE}CSVEncoding.`, {
  description: "How CSV is written (RFC 4180).",
  params: {
    FieldSeparator: readWrite(separator, "Between fields.", { default: "," }),
    RowSeparator: readWrite(separator, "After each row; control characters may be written like `&#10;`.", {
      default: "\r\n",
    }),
    EscapeCharacter: readWrite(
      string({ minLength: 1, maxLength: 8 }),
      "Precedes a double quote, and itself, within a quoted field.",
      { default: '"' },
    ),
    ReportFormat: readWrite(enumeration("ParameterPerRow", "ParameterPerColumn"), "Layout.", {
      default: "ParameterPerColumn",
    }),
    RowTimestamp: readWrite(TIMESTAMP, "First field of each row: when the values were read."),
  },
});

export const BulkDataJsonEncoding = object(`${PROFILE}JSONEncoding.`, {
  description: "How JSON is written.",
  params: {
    ReportFormat: readWrite(enumeration("ObjectHierarchy", "NameValuePair"), "Layout."),
    ReportTimestamp: readWrite(TIMESTAMP, "CollectionTime: when the values were read."),
  },
});

export const BulkDataHttp = object(`${PROFILE}HTTP.`, {
  description: "Where it goes, where Protocol is HTTP.",
  params: {
    URL: readWrite(
      url,
      "The collector, http:// or https://; the agent's oui, pc and sn (or eid, where it has none) are added to its query.",
    ),
    Username: readWrite(string({ maxLength: 256 }), "Name told to a collector that asks who it is."),
    Password: readWrite(string({ maxLength: 256 }), "Its password. Never read back.", { secured: true, hidden: true }),
    CompressionsSupported: readOnly(list(enumeration("GZIP")), "What Compression may be, besides None."),
    Compression: readWrite(COMPRESSION, "Compression of the body."),
    MethodsSupported: readOnly(list(METHOD), "What Method may be."),
    Method: readWrite(METHOD, "HTTP method."),
    UseDateHeader: readWrite(boolean, "Whether the request has a Date.", { default: true }),
    RetryEnable: readWrite(boolean, "Whether a report that is not taken is sent again until the next one is due."),
    RetryMinimumWaitInterval: readWrite(retryMinimum, "First wait before that, in seconds.", { default: 5 }),
    RetryIntervalMultiplier: readWrite(retryMultiplier, "How the wait grows, in thousandths.", { default: 2000 }),
  },
});

export const BulkDataUriParameter = object(`${PROFILE}HTTP.RequestURIParameter.{i}.`, {
  description: "A parameter whose value is added to the query.",
  rows: "add-delete",
  maxRows: 16,
  params: {
    Name: readWrite(string({ maxLength: 64 }), "Its name in the query."),
    Reference: readWrite(path, "The parameter."),
  },
});

export const BulkDataMqtt = object(`${PROFILE}MQTT.`, {
  description: "Where it goes, where Protocol is MQTT.",
  params: {
    Reference: readWrite(reference(MQTT_CLIENT), "The client by which it is published."),
    PublishTopic: readWrite(topic, "Topic."),
    PublishQoS: readWrite(unsignedInt({ max: 2 }), "QoS."),
    PublishRetain: readWrite(boolean, "Retain flag."),
  },
});
