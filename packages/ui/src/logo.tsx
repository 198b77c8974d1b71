/** Three leaves on one stem: adapters on one base. */
export function LogoMark() {
  return (
    <svg viewBox="0 0 24 24" className="size-6" fill="none" aria-hidden>
      <path d="M12 21.5V9" className="stroke-accent" strokeWidth="1.8" strokeLinecap="round" />
      <path d="M12 10.5C8.9 9.3 8.6 5 12 2.2c3.4 2.800 3.100 7.100 0 8.300Z" className="fill-accent" />
      <path
        d="M11.400 15.200C8 16 4.600 13.600 4.300 9.200c4.200-.100 7.100 2.600 7.100 6Z"
        className="fill-accent/65"
      />
      <path
        d="M12.600 18.200c0-3.600 2.900-6.300 7.100-6.200-.300 4.400-3.700 6.900-7.100 6.200Z"
        className="fill-accent/85"
      />
    </svg>
  );
}
