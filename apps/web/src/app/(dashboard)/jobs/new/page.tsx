import type { Metadata } from "next";
import { NewJobPage } from "@/features/jobs/new-job-page";

export const metadata: Metadata = { title: "New job" };

export default async function Page({ searchParams }: { searchParams: Promise<{ dataset?: string | string[] }> }) {
  const { dataset } = await searchParams;
  return <NewJobPage datasetId={typeof dataset === "string" ? dataset : null} />;
}
