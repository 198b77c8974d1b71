import { isFirstRun } from "@grove/core/accounts/sign-up";
import type { Metadata } from "next";
import { redirect } from "next/navigation";
import { safePath } from "@/features/accounts/safe-path";
import { SignInForm } from "@/features/accounts/sign-in-form";
import { services } from "@/server/services";
import { currentOrg } from "@/server/session";

export const metadata: Metadata = { title: "Sign in" };

export default async function SignInPage({ searchParams }: { searchParams: Promise<{ next?: string | string[] }> }) {
  const next = safePath((await searchParams).next);
  if ((await currentOrg()) !== null) redirect(next);
  if (await isFirstRun(services())) redirect("/sign-up");
  return <SignInForm next={next} />;
}
