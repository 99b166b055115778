import { Helper } from "../spec/types";

/** What the kernel calls a helper: its own name but for H.323, of which it is the part that opens calls (net/netfilter/nf_conntrack_h323_main.c). */
export function kernelHelper(helper: Helper): string {
  return helper === Helper.H323 ? Q931 : helper;
}

/** The helper that the kernel calls so. */
export function helperOfKernel(name: string): Helper {
  return name === Q931 ? Helper.H323 : (name as Helper);
}

const Q931 = "Q.931";
