"use client";
import { Button } from "@grove/ui/button";
import { LogoMark } from "@grove/ui/logo";
import {
  Activity,
  BadgeCheck,
  Database,
  FlaskConical,
  House,
  KeyRound,
  LogOut,
  type LucideIcon,
  Menu,
  Server,
  Shapes,
  Sparkles,
  X,
} from "lucide-react";
import Link from "next/link";
import { usePathname } from "next/navigation";
import { signOut } from "next-auth/react";
import { useState } from "react";

type NavItem = { href: string; title: string; icon: LucideIcon };

const groups: { title: string | null; items: NavItem[] }[] = [
  { title: null, items: [{ href: "/", title: "Overview", icon: House }] },
  {
    title: "Build",
    items: [
      { href: "/datasets", title: "Datasets", icon: Database },
      { href: "/jobs", title: "Jobs", icon: Activity },
      { href: "/adapters", title: "Adapters", icon: Shapes },
    ],
  },
  {
    title: "Use",
    items: [
      { href: "/lora-land", title: "Playground", icon: Sparkles },
      { href: "/serving", title: "Serving", icon: Server },
      { href: "/evals", title: "Evals", icon: FlaskConical },
    ],
  },
  {
    title: "Account",
    items: [
      { href: "/usage", title: "Usage", icon: BadgeCheck },
      { href: "/tokens", title: "API tokens", icon: KeyRound },
    ],
  },
];

type SidebarProps = { organisation: string; user: { name: string; email: string } };

export function Sidebar({ organisation, user }: SidebarProps) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <div className="sticky top-0 z-30 flex items-center justify-between border-b border-line bg-canvas/90 px-4 py-2.5 backdrop-blur lg:hidden">
        <Brand organisation={organisation} />
        <Button
          variant="ghost"
          size="icon"
          aria-label={open ? "Close menu" : "Open menu"}
          aria-expanded={open}
          aria-controls="navigation"
          onClick={() => setOpen(!open)}
        >
          {open ? <X /> : <Menu />}
        </Button>
      </div>
      <aside
        id="navigation"
        className={`${open ? "flex" : "hidden"} fixed inset-x-0 top-[53px] bottom-0 z-20 flex-col overflow-y-auto bg-canvas px-3 py-4 lg:sticky lg:top-0 lg:flex lg:h-dvh lg:w-60 lg:shrink-0 lg:border-r lg:border-line`}
      >
        <div className="hidden px-2 pb-4 lg:block">
          <Brand organisation={organisation} />
        </div>
        <Navigation onNavigate={() => setOpen(false)} />
        <UserFooter user={user} />
      </aside>
    </>
  );
}

function Brand({ organisation }: { organisation: string }) {
  return (
    <Link
      href="/"
      className="flex items-center gap-2.5 rounded-lg outline-none focus-visible:ring-2 focus-visible:ring-accent/60"
      aria-label="Grove, overview"
    >
      <LogoMark />
      <span className="min-w-0">
        <span className="block text-[15px] leading-4 font-semibold tracking-tight">Grove</span>
        <span className="block max-w-40 truncate text-xs text-muted">{organisation}</span>
      </span>
    </Link>
  );
}

function Navigation({ onNavigate }: { onNavigate: () => void }) {
  const path = usePathname();
  const isHere = (href: string) => (href === "/" ? path === "/" : path === href || path.startsWith(`${href}/`));
  return (
    <nav aria-label="Main" className="flex flex-1 flex-col gap-5">
      {groups.map((group) => (
        <div key={group.title ?? "top"}>
          {group.title === null ? null : <p className="px-2.5 pb-1.5 text-xs font-medium text-faint">{group.title}</p>}
          <ul className="flex flex-col gap-0.5">
            {group.items.map((item) => (
              <li key={item.href}>
                <Link
                  href={item.href}
                  onClick={onNavigate}
                  aria-current={isHere(item.href) ? "page" : undefined}
                  className={`flex items-center gap-2.5 rounded-lg px-2.5 py-2 text-sm font-medium outline-none focus-visible:ring-2 focus-visible:ring-accent/60 lg:py-1.5 ${isHere(item.href) ? "bg-accent-soft text-accent-text" : "text-muted hover:bg-sunken hover:text-ink"}`}
                >
                  <item.icon className="size-4 shrink-0" aria-hidden />
                  {item.title}
                </Link>
              </li>
            ))}
          </ul>
        </div>
      ))}
    </nav>
  );
}

function UserFooter({ user }: { user: SidebarProps["user"] }) {
  return (
    <div className="mt-6 flex items-center gap-2.5 border-t border-line px-2 pt-4">
      <span
        className="flex size-8 shrink-0 items-center justify-center rounded-full bg-accent-soft text-[13px] font-semibold text-accent-text"
        aria-hidden
      >
        {(user.name || user.email).slice(0, 1).toUpperCase()}
      </span>
      <span className="min-w-0 flex-1">
        <span className="block truncate text-[13px] font-medium">{user.name}</span>
        <span className="block truncate text-xs text-muted">{user.email}</span>
      </span>
      <Button
        variant="ghost"
        size="icon"
        aria-label="Sign out"
        title="Sign out"
        onClick={() => void signOut({ callbackUrl: "/sign-in" })}
      >
        <LogOut />
      </Button>
    </div>
  );
}
