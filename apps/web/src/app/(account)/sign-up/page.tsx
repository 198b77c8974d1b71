import { isFirstRun } from "@grove/core/accounts/sign-up";
import { buttonStyles } from "@grove/ui/button";
import type { Metadata } from "next";
import Link from "next/link";
import { redirect } from "next/navigation";
import { SignUpForm } from "@/features/accounts/sign-up-form";
import { services } from "@/server/services";
import { currentOrg } from "@/server/session";

export const metadata: Metadata = { title: "Set up Grove" };

export default async function SignUpPage() {
  if ((await currentOrg()) !== null) redirect("/");
  if (await isFirstRun(services())) return <SignUpForm />;
  return (
    <div className="flex flex-col gap-5">
      <div>
        <h1 className="text-xl font-semibold tracking-tight">Grove is already set up</h1>
        <p className="mt-1.5 text-sm text-muted">
          The first account made the organisation, and more accounts can't be made yet. If it is yours, sign in with it.
        </p>
      </div>
      <Link href="/sign-in" className={buttonStyles({ variant: "primary", size: "lg" })}>
        Sign in
      </Link>
    </div>
  );
}
