/** An nfnetlink batch (linux/nfnetlink.h): the messages between BATCH_BEGIN and BATCH_END are one transaction. */
import { Family, HEADER_BYTES, MessageFlag, MessageWriter, Subsystem } from "./messages.ts";

const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;

/** The batch; each message gets its index as sequence number, by which the kernel's errors name it. */
export function batch(messages: readonly Uint8Array[]): Buffer {
  const control = (type: number) =>
    new MessageWriter().begin(type, MessageFlag.Request, Family.Unspecified, Subsystem.Nftables).message();
  const parts = [control(NFNL_MSG_BATCH_BEGIN), ...messages, control(NFNL_MSG_BATCH_END)];
  const whole = Buffer.concat(parts);
  let at = 0;
  for (const [i, part] of parts.entries()) {
    if (part.length < HEADER_BYTES)
      throw new RangeError(`message ${i - 1} of ${part.length} bytes is no netlink message`);
    whole.writeInt32LE(i - 1, at + 8);
    at += part.length;
  }
  return whole;
}
