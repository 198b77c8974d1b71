import { isFirstRun } from "@grove/core/accounts/sign-up";
import { headers } from "next/headers";
import { redirect } from "next/navigation";
import type { ReactNode } from "react";
import { Sidebar } from "@/features/shell/sidebar";
import { services } from "@/server/services";
import { currentOrg, currentUser } from "@/server/session";

/** Guards every dashboard page: a visitor without a session never sees one. */
export default async function DashboardLayout({ children }: { children: ReactNode }) {
  const [org, user] = await Promise.all([currentOrg(), currentUser()]);
  if (org === null || user === null) {
    if (await isFirstRun(services())) redirect("/sign-up");
    const path = (await headers()).get("x-grove-path") ?? "/";
    redirect(path === "/" ? "/sign-in" : `/sign-in?next=${encodeURIComponent(path)}`);
  }
  return (
    <div className="lg:flex">
      <a
        href="#content"
        className="sr-only rounded-lg bg-accent px-3 py-2 text-sm text-on-accent focus:not-sr-only focus:fixed focus:top-3 focus:left-3 focus:z-50"
      >
        Skip to content
      </a>
      <Sidebar organisation={org.orgSlug} user={user} />
      <main id="content" className="min-w-0 flex-1 px-4 py-6 sm:px-8 sm:py-9">
        <div className="mx-auto max-w-6xl">{children}</div>
      </main>
    </div>
  );
}
