import "./globals.css";
import { GeistMono } from "geist/font/mono";
import { GeistSans } from "geist/font/sans";
import type { Metadata, Viewport } from "next";
import { connection } from "next/server";
import type { ReactNode } from "react";
import { Providers } from "@/features/shell/providers";

export const metadata: Metadata = {
  title: { default: "Grove", template: "%s · Grove" },
  description:
    "Fine-tune small adapters on your data, serve hundreds from one base model, and prove that they are better.",
};
export const viewport: Viewport = {
  themeColor: [
    { media: "(prefers-color-scheme: light)", color: "#fafbfa" },
    { media: "(prefers-color-scheme: dark)", color: "#0a0c0b" },
  ],
};

export default async function RootLayout({ children }: { children: ReactNode }) {
  await connection(); // every page is made per request: its scripts carry that request's nonce
  return (
    <html lang="en" className={`${GeistSans.variable} ${GeistMono.variable}`}>
      <body className="min-h-dvh font-sans">
        <Providers>{children}</Providers>
      </body>
    </html>
  );
}
