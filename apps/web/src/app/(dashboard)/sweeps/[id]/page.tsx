import type { Metadata } from "next";
import { SweepPage } from "@/features/sweeps/sweep-page";

export const metadata: Metadata = { title: "Sweep" };

export default async function Page({ params }: { params: Promise<{ id: string }> }) {
  return <SweepPage id={(await params).id} />;
}
