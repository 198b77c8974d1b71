import type { Metadata } from "next";
import { PlaygroundPage } from "@/features/lora-land/playground-page";

export const metadata: Metadata = { title: "Playground" };

export default async function Page({ searchParams }: { searchParams: Promise<{ adapter?: string | string[] }> }) {
  const { adapter } = await searchParams;
  return <PlaygroundPage adapterId={typeof adapter === "string" ? adapter : null} />;
}
