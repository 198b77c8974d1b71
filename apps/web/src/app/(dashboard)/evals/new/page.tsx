import type { Metadata } from "next";
import { NewEvalPage } from "@/features/evals/new-eval-page";

export const metadata: Metadata = { title: "New evaluation" };

export default async function Page({ searchParams }: { searchParams: Promise<{ adapter?: string | string[] }> }) {
  const { adapter } = await searchParams;
  return <NewEvalPage adapterId={typeof adapter === "string" ? adapter : null} />;
}
