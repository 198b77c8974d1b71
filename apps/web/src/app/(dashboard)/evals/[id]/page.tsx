import type { Metadata } from "next";
import { EvalPage } from "@/features/evals/eval-page";

export const metadata: Metadata = { title: "Evaluation" };

export default async function Page({ params }: { params: Promise<{ id: string }> }) {
  return <EvalPage id={(await params).id} />;
}
