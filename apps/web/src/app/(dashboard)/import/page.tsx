import type { Metadata } from "next";
import { ImportPage } from "@/features/adapters/import-page";

export const metadata: Metadata = { title: "Import an adapter" };

export default function Page() {
  return <ImportPage />;
}
