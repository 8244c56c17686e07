"""What the assessments mean for a user: comparisons of scores, verdicts by use, and the sentences that say so."""
