/** An nfnetlink batch (linux/nfnetlink.h): the messages between BATCH_BEGIN and BATCH_END are one transaction. */
import { Family, MessageFlag, MessageWriter, Subsystem } from "./messages.ts";

const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;

/** The batch; each message gets its index as sequence number, by which the kernel's errors name it. */
export function batch(messages: readonly Uint8Array[]): Buffer {
  const control = (type: number) =>
    new MessageWriter().begin(type, MessageFlag.Request, Family.Unspecified, Subsystem.Nftables).message();
  const whole = Buffer.concat([control(NFNL_MSG_BATCH_BEGIN), ...messages, control(NFNL_MSG_BATCH_END)]);
  let at = 0;
  for (let index = -1; at < whole.length; index++) {
    whole.writeInt32LE(index, at + 8);
    at += whole.readUInt32LE(at);
  }
  return whole;
}
