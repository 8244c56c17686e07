"""Commands that advise and measure: plan, compare, bench."""
