"""The nouns: job, call, fault, verdict. Frozen values without behaviour that reaches outside."""
