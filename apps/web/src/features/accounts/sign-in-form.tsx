"use client";
import { Button } from "@grove/ui/button";
import { Field, Input } from "@grove/ui/field";
import { Notice } from "@grove/ui/states";
import { signIn } from "next-auth/react";
import { type FormEvent, useState } from "react";
import { plural } from "@/features/shared/format";

type Attempt = { state: "idle" } | { state: "busy" } | { state: "refused"; message: string };

function explain(error: string): string {
  const wait = /^wait-(\d+)$/.exec(error)?.[1];
  if (wait !== undefined)
    return `Too many wrong passwords for this account. Try again in ${plural(Number(wait), "second")}.`;
  if (error === "CredentialsSignin") return "E-mail address or password is wrong.";
  return "Signing in did not work. Check that Grove's database is running, then try again.";
}

export function SignInForm({ next }: { next: string }) {
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [attempt, setAttempt] = useState<Attempt>({ state: "idle" });

  const onSubmit = async (event: FormEvent) => {
    event.preventDefault();
    setAttempt({ state: "busy" });
    const answer = await signIn("credentials", { email, password, redirect: false }).catch(() => undefined);
    if (answer?.ok === true && !answer.error) window.location.assign(next);
    else setAttempt({ state: "refused", message: explain(answer?.error ?? "offline") });
  };
  return (
    <form onSubmit={onSubmit} className="flex flex-col gap-5">
      <div>
        <h1 className="text-xl font-semibold tracking-tight">Sign in</h1>
        <p className="mt-1.5 text-sm text-muted">With the account that you made on this installation.</p>
      </div>
      {attempt.state === "refused" ? <Notice tone="bad" title={attempt.message} /> : null}
      <Field label="E-mail">
        <Input
          type="email"
          name="email"
          autoComplete="username"
          required
          autoFocus
          value={email}
          onChange={(event) => setEmail(event.target.value)}
        />
      </Field>
      <Field label="Password">
        <Input
          type="password"
          name="password"
          autoComplete="current-password"
          required
          value={password}
          onChange={(event) => setPassword(event.target.value)}
        />
      </Field>
      <Button type="submit" variant="primary" size="lg" busy={attempt.state === "busy"}>
        Sign in
      </Button>
    </form>
  );
}
