import { enforcerContract } from "../contracts/enforcer.ts";
import { kernelBed } from "../support/enforcer-bed.ts";
import { homeMissing } from "../support/home.ts";
import { describeUnless, missing } from "../support/needs.ts";

describeUnless(homeMissing() ?? missing("socat", "nc"), "the kernel, through spawned nft", () => {
  enforcerContract(() => kernelBed("nft"));
});
