import type { Metadata } from "next";
import { RepositoryPage } from "@/features/adapters/repository-page";

type Props = { params: Promise<{ repository: string }> };

export async function generateMetadata({ params }: Props): Promise<Metadata> {
  return { title: (await params).repository };
}

export default async function Page({ params }: Props) {
  return <RepositoryPage name={(await params).repository} />;
}
