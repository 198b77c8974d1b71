import { LogoMark } from "@grove/ui/logo";
import type { ReactNode } from "react";

export default function AccountLayout({ children }: { children: ReactNode }) {
  return (
    <main className="flex min-h-dvh flex-col items-center justify-center px-4 py-12">
      <div className="w-full max-w-sm">
        <div className="mb-8 flex items-center gap-2.5">
          <LogoMark />
          <span className="text-lg font-semibold tracking-tight">Grove</span>
        </div>
        {children}
      </div>
    </main>
  );
}
