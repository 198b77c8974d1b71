import type { Metadata } from "next";
import { DatasetPage } from "@/features/datasets/dataset-page";

export const metadata: Metadata = { title: "Data set" };

export default async function Page({ params }: { params: Promise<{ id: string }> }) {
  return <DatasetPage id={(await params).id} />;
}
