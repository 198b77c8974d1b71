"use client";
import { Button } from "@grove/ui/button";
import { Field, Input } from "@grove/ui/field";
import { Notice } from "@grove/ui/states";
import { useMutation } from "@tanstack/react-query";
import { signIn } from "next-auth/react";
import { type FormEvent, useState } from "react";
import { failureOf } from "@/features/shared/failure";
import { useTRPC } from "@/features/shared/trpc";

const blank = { name: "", email: "", organisation: "", password: "" };

export function SignUpForm() {
  const trpc = useTRPC();
  const [values, setValues] = useState(blank);
  const [leaving, setLeaving] = useState(false);
  const signUp = useMutation(
    trpc.accounts.signUp.mutationOptions({
      onSuccess: async () => {
        setLeaving(true);
        const answer = await signIn("credentials", {
          email: values.email,
          password: values.password,
          redirect: false,
        }).catch(() => undefined);
        window.location.assign(answer?.ok === true ? "/" : "/sign-in");
      },
    }),
  );
  const failure = signUp.error === null ? null : failureOf(signUp.error);
  const field = (key: keyof typeof blank) => ({
    name: key,
    required: true,
    value: values[key],
    onChange: (event: { target: { value: string } }) => setValues({ ...values, [key]: event.target.value }),
  });
  const errorOf = (key: keyof typeof blank) => (failure?.field === key ? failure.message : null);
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    signUp.mutate(values);
  };
  return (
    <form onSubmit={onSubmit} className="flex flex-col gap-5">
      <div>
        <h1 className="text-xl font-semibold tracking-tight">Set up Grove</h1>
        <p className="mt-1.5 text-sm text-muted">
          The first account makes the organisation and owns it. Everything stays on this installation.
        </p>
      </div>
      {failure !== null && failure.field === null ? <Notice tone="bad" title={failure.message} /> : null}
      <Field label="Your name" error={errorOf("name")}>
        <Input autoComplete="name" autoFocus {...field("name")} />
      </Field>
      <Field label="E-mail" error={errorOf("email")}>
        <Input type="email" autoComplete="username" {...field("email")} />
      </Field>
      <Field
        label="Organisation"
        hint="Its short form becomes a part of your serving addresses."
        error={errorOf("organisation")}
      >
        <Input autoComplete="organization" {...field("organisation")} />
      </Field>
      <Field label="Password" hint="At least 10 characters." error={errorOf("password")}>
        <Input type="password" autoComplete="new-password" minLength={10} {...field("password")} />
      </Field>
      <Button type="submit" variant="primary" size="lg" busy={signUp.isPending || leaving}>
        Create account
      </Button>
    </form>
  );
}
