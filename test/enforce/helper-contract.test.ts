import { enforcerContract } from "../contracts/enforcer.ts";
import { helperMissing } from "../netlink/helper-fixture.ts";
import { kernelBed } from "../support/enforcer-bed.ts";
import { homeMissing } from "../support/home.ts";
import { describeUnless, missing } from "../support/needs.ts";

describeUnless(homeMissing() ?? helperMissing() ?? missing("socat", "nc"), "the kernel, through the helper", () => {
  enforcerContract(() => kernelBed("helper"));
});
