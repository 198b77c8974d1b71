import type { Metadata } from "next";
import { notFound } from "next/navigation";
import { ServingPage } from "@/features/serving/serving-page";
import { env } from "@/server/env";
import { currentOrg } from "@/server/session";

export const metadata: Metadata = { title: "Serving" };

export default async function Page() {
  const org = await currentOrg();
  if (org === null) notFound();
  return <ServingPage gatewayUrl={env().core.gatewayUrl} tenant={org.orgSlug} />;
}
