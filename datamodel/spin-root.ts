/** A vendor renames the whole model here, e.g. to `Device.X_00005E_SPIN.` (letters, digits and `_` only). */
export const ROOT = "Device.X_SPIN.";
