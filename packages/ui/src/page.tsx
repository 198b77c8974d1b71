import type { ReactNode } from "react";

type PageHeaderProps = { title: ReactNode; description?: ReactNode; above?: ReactNode; children?: ReactNode };

/** Title at the left, the page's acts at the right. */
export function PageHeader({ title, description, above, children }: PageHeaderProps) {
  return (
    <header className="flex flex-wrap items-end justify-between gap-x-6 gap-y-4">
      <div className="min-w-0">
        {above === undefined ? null : <div className="mb-2 text-[13px] text-muted">{above}</div>}
        <h1 className="flex flex-wrap items-center gap-x-3 gap-y-1.5 text-[22px] leading-7 font-semibold tracking-tight text-ink">
          {title}
        </h1>
        {description === undefined ? null : <p className="mt-1 max-w-2xl text-sm text-muted">{description}</p>}
      </div>
      {children === undefined ? null : <div className="flex flex-wrap items-center gap-2">{children}</div>}
    </header>
  );
}

export function Page({ children }: { children: ReactNode }) {
  return <div className="flex flex-col gap-6">{children}</div>;
}
