import { buttonStyles } from "@grove/ui/button";
import { LogoMark } from "@grove/ui/logo";
import Link from "next/link";

export default function NotFound() {
  return (
    <main className="flex min-h-dvh flex-col items-center justify-center gap-4 px-6 text-center">
      <LogoMark />
      <div>
        <h1 className="text-lg font-semibold">There is no such page</h1>
        <p className="mt-1 text-sm text-muted">It may have been deleted, or the address has a slip in it.</p>
      </div>
      <Link href="/" className={buttonStyles({ variant: "primary" })}>
        To the overview
      </Link>
    </main>
  );
}
