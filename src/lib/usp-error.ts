/** USP error codes (TR-369 1.4.1, table "USP Error Codes") and the error that carries one. */
export const UspErrorCode = {
  General: 7000,
  MessageNotSupported: 7001,
  Denied: 7002,
  Internal: 7003,
  InvalidArguments: 7004,
  ResourcesExceeded: 7005,
  PermissionDenied: 7006,
  InvalidConfiguration: 7007,
  InvalidPathSyntax: 7008,
  ParameterActionFailed: 7009,
  UnsupportedParameter: 7010,
  InvalidType: 7011,
  InvalidValue: 7012,
  NotWritable: 7013,
  ValueConflict: 7014,
  OperationFailed: 7015,
  ObjectDoesNotExist: 7016,
  ObjectNotCreated: 7017,
  NotATable: 7018,
  NotCreatable: 7019,
  ObjectNotUpdated: 7020,
  RequiredParameterFailed: 7021,
  CommandFailed: 7022,
  CommandCanceled: 7023,
  DeleteFailed: 7024,
  DuplicateUniqueKey: 7025,
  InvalidPath: 7026,
  InvalidCommandArguments: 7027,
  RegisterFailure: 7028,
  AlreadyRegistered: 7029,
  DeregisterFailure: 7030,
  DeregisterForeign: 7031,
  RecordNotParsed: 7100,
  SecureSessionRequired: 7101,
  SecureSessionNotSupported: 7102,
  SegmentationNotSupported: 7103,
  InvalidRecord: 7104,
  SessionTerminated: 7105,
  SessionNotAllowed: 7106,
} as const;

const NAMES = new Map<number, string>(Object.entries(UspErrorCode).map(([name, code]) => [code, name]));

/** The name of a code in words an operator can search for: `7006 PermissionDenied`; vendor codes have only a number. */
export function errorName(code: number): string {
  return NAMES.get(code) ?? (code >= 7800 ? "Vendor" : "Unknown");
}

/** What a controller did wrong: answered with its code, never logged as our bug. */
export class UspError extends Error {
  override readonly name = "UspError";
  constructor(
    readonly code: number,
    message: string,
    /** The path or parameter at fault, where one is. */
    readonly path?: string,
  ) {
    super(message);
  }
}
